// The end of the worker's log, asked for only while it is open.

import * as api from "./api.js";
import { by, el, say } from "./dom.js";

const MOST = 500;
let last = 0;
let offered = true;

/** Asks for what is new, if the log is open. */
export async function refresh() {
	if (!by("log").open || !offered) return;
	let lines;
	try {
		({ lines } = await api.json(`logs?after=${last}`));
	} catch (error) {
		if (!(error instanceof api.Refused)) throw error;
		offered = false;
		return say(by("log-problem"), error.message);
	}
	const box = by("log-lines");
	const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
	box.append(...lines.map(({ text }) => el("p", { "data-level": level(text) }, text)));
	while (box.childElementCount > MOST) box.firstElementChild.remove();
	if (lines.length && atEnd) box.scrollTop = box.scrollHeight;
	last = lines.at(-1)?.number ?? last;
}

/** Begins anew: another process has another log. */
export function restart() {
	last = 0;
	by("log-lines").replaceChildren();
}

const level = (text) => (/ (ERROR|CRITICAL) /.test(text) ? "bad" : / WARNING /.test(text) ? "warn" : false);
