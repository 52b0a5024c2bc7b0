// The texts in a PNG (tEXt, and iTXt that is not compressed): there ComfyUI keeps the workflow of a picture.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether the bytes begin like a PNG. */
export const isPng = (content) => SIGNATURE.every((byte, place) => content[place] === byte);

/** The texts by keyword. */
export function texts(content) {
	const found = new Map();
	const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
	let place = SIGNATURE.length;
	while (place + 12 <= content.length) {
		const length = view.getUint32(place);
		const type = latin1(content.subarray(place + 4, place + 8));
		const data = content.subarray(place + 8, place + 8 + length);
		const end = data.indexOf(0);
		const keyword = latin1(data.subarray(0, end));
		if (type === "tEXt") found.set(keyword, latin1(data.subarray(end + 1)));
		if (type === "iTXt" && data[end + 1] === 0) found.set(keyword, utf8(afterZeros(data.subarray(end + 3), 2)));
		place += 12 + length;
	}
	return found;
}

// In pieces: a function takes only so many arguments.
function latin1(bytes) {
	let text = "";
	for (let place = 0; place < bytes.length; place += 4096) {
		text += String.fromCharCode(...bytes.subarray(place, place + 4096));
	}
	return text;
}

const utf8 = (bytes) => new TextDecoder().decode(bytes);

/** What comes after so many zeros: iTXt has a language and a translated keyword before its text. */
function afterZeros(bytes, number) {
	let rest = bytes;
	for (let zeros = 0; zeros < number; zeros += 1) rest = rest.subarray(rest.indexOf(0) + 1);
	return rest;
}
