// The list of the latest jobs: the server's where it keeps one, else those that this tab has sent.

import * as api from "./api.js";
import { by, el, fill, list, say } from "./dom.js";
import { ago, duration, outputs, status } from "./format.js";
import { open } from "./results.js";

const SHOWN = 20;
const STORED = "comfyport-jobs";
const KINDS = ["images", "videos", "audio", "files", "text"];
const pictures = new Map();
let listed = true;

/** Asks for the list and shows it. */
export async function refresh() {
	let jobs = [];
	if (listed) {
		try {
			({ jobs } = await api.json(`jobs?limit=${SHOWN}`));
		} catch (error) {
			if (!(error instanceof api.Refused)) throw error;
			listed = false;
		}
	}
	if (!listed) jobs = sent();
	by("jobs-empty").hidden = jobs.length > 0;
	list(by("job-list"), jobs, (job) => job.id, make, update);
	forget(new Set(jobs.map(picture)));
}

/** Remembers a job that was sent from here, for where the server lists none. */
export const remember = (id) => keep([{ id, queuedAt: new Date().toISOString() }, ...sent()]);

/** Remembers how a job of this tab ended: `state` is the body of `/status`. */
export function end(state) {
	const { images = [] } = state.output ?? {};
	const { status: name, executionTime, error } = state;
	const ended = { status: name, executionTime, error, outputs: numbers(state.output ?? {}), thumbnail: images.some((item) => item.type === "base64") };
	keep(sent().map((job) => (job.id === state.id ? { ...job, ...ended } : job)));
}

/** How many of each kind there are, as `/jobs` counts them. */
function numbers(output) {
	const counted = {};
	for (const listed of KINDS) {
		for (const item of output[listed] ?? []) {
			const kind = listed === "images" && item.media_type?.startsWith("video/") ? "videos" : listed;
			counted[kind] = (counted[kind] ?? 0) + 1;
		}
	}
	return counted;
}

const sent = () => JSON.parse(sessionStorage.getItem(STORED) ?? "[]");

const keep = (jobs) => sessionStorage.setItem(STORED, JSON.stringify(jobs.slice(0, SHOWN)));

function make(job) {
	const parts = {
		thumbnail: el("img", { alt: "", width: 52, height: 52, hidden: true }),
		state: el("span", { class: "pill" }),
		when: el("span", { class: "figures" }),
		facts: el("span", { class: "facts" }),
		bar: el("progress", { "aria-label": "Progress", hidden: true }),
	};
	const line = el("span", { class: "line" }, parts.state, parts.when);
	const text = el("span", { class: "words" }, line, parts.facts, parts.bar);
	const button = el("button", { type: "button", onclick: () => open(job.id, end) }, el("span", { class: "thumbnail" }, parts.thumbnail), text);
	return Object.assign(el("li", {}, button), { parts });
}

function update({ parts }, job) {
	const [word, tone] = status(job.status ?? "");
	say(parts.state, word || "Sent");
	parts.state.dataset.tone = tone;
	say(parts.when, ago(job.queuedAt));
	say(parts.facts, facts(job));
	parts.bar.hidden = job.status !== "IN_PROGRESS";
	if (!parts.bar.hidden) fill(parts.bar, job.progress?.percent ?? 0, job.progress?.percent === undefined ? 0 : 100);
	if (job.thumbnail) illustrate(parts.thumbnail, job);
}

function facts(job) {
	if (job.error) return job.error.split("\n")[0];
	if (job.progress?.title) return job.progress.title;
	const ran = job.executionTime === undefined ? "" : duration(job.executionTime / 1000);
	return [outputs(job.outputs ?? {}), ran].filter(Boolean).join(", ") || job.id;
}

/** The key under which a job's picture is kept: a job that is run again has another one. */
const picture = (job) => `${job.id} ${job.retries ?? 0}`;

async function illustrate(image, job) {
	const name = picture(job);
	if (pictures.has(name)) return;
	pictures.set(name, "");
	try {
		const answer = await api.ask(`jobs/${job.id}/thumbnail`);
		const address = URL.createObjectURL(await answer.blob());
		pictures.set(name, address);
		image.src = address;
		image.hidden = false;
	} catch (error) {
		// A picture that cannot be shown small is left out; one that could not be fetched is asked for again.
		if (!(error instanceof api.Refused)) pictures.delete(name);
	}
}

function forget(present) {
	for (const [name, address] of pictures) {
		if (present.has(name)) continue;
		if (address) URL.revokeObjectURL(address);
		pictures.delete(name);
	}
}
