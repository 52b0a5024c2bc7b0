// Figures as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 1234567 -> "1.2 MB" */
export function bytes(number) {
	let unit = 0;
	while (number >= 999.5 && unit < UNITS.length - 1) {
		number /= 1000;
		unit += 1;
	}
	return `${number < 10 && unit > 1 ? number.toFixed(1) : Math.round(number)} ${UNITS[unit]}`;
}

/** Seconds -> "0.4 s", "12 s", "3 min 20 s", "2 h 5 min" */
export function duration(seconds) {
	if (seconds < 10) return `${seconds.toFixed(1)} s`;
	const whole = Math.round(seconds);
	if (whole < 60) return `${whole} s`;
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
	return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A time -> "just now", "5 min ago", or its date. */
export function ago(iso) {
	const seconds = (Date.now() - Date.parse(iso)) / 1000;
	if (seconds < 10) return "just now";
	if (seconds < 60) return `${Math.round(seconds)} s ago`;
	if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
	if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
	return new Date(iso).toLocaleString();
}

/** (2, "picture") -> "2 pictures" */
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

const NAMES = { images: "picture", videos: "video", audio: "sound", files: "file", text: "text" };

/** {images: 2, text: 1} -> "2 pictures, 1 text" */
export const outputs = (numbers) =>
	Object.entries(numbers)
		.map(([kind, number]) => count(number, NAMES[kind] ?? kind))
		.join(", ");

const STATUSES = {
	IN_QUEUE: ["Waiting", "quiet"],
	IN_PROGRESS: ["Running", "busy"],
	COMPLETED: ["Done", "good"],
	FAILED: ["Failed", "bad"],
	CANCELLED: ["Cancelled", "quiet"],
	TIMED_OUT: ["Timed out", "bad"],
};

/** A job's status -> its word and its tone. */
export const status = (name) => STATUSES[name] ?? [name, "quiet"];

/** Whether nothing will change any more. */
export const ended = (name) => !["IN_QUEUE", "IN_PROGRESS"].includes(name);
