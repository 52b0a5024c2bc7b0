// The worker as `/health` tells it: its state in a word, ComfyUI, the queue, custom nodes, and the models.

import { by, el, fill, list, say } from "./dom.js";
import { bytes, count, duration } from "./format.js";

const COMFYUI = { starting: "starting", ready: "ready", restarting: "starting again", stopped: "stopped", failed: "cannot run" };

/** Shows all of it; the word for its state, and the tone of that. */
export function show(health) {
	const board = health.status;
	list(by("worker"), [...rows(health)], ([name]) => name, row, ({ parts }, [, text, tone]) => {
		say(parts, text);
		parts.dataset.tone = tone ?? "";
	});
	models(board.models);
	return state(health);
}

/** What a person wants to know first. */
function state({ jobs, workers, status: { comfyui, models } }) {
	// Without a board (on Modal) the door is always open, and workers come with the jobs.
	if (!comfyui && !models) return jobs.inProgress || jobs.inQueue ? ["Working", "busy"] : ["Ready", "good"];
	if (comfyui?.state === "failed") return ["ComfyUI cannot run", "bad"];
	if (workers.ready && (jobs.inProgress || jobs.inQueue)) return ["Working", "busy"];
	if (workers.ready && comes(models)) return ["Ready, models are coming", "busy"];
	if (workers.ready) return ["Ready", "good"];
	if (comfyui?.state === "restarting") return ["ComfyUI starts again", "warn"];
	if (comes(models)) return ["Downloading models", "busy"];
	return ["Starting", "busy"];
}

/** Whether a download is under way. */
const comes = (section) => section?.state === "running" && section.bytes_left > 0;

function* rows({ jobs, status: board }) {
	const { comfyui, start, nodes } = board;
	if (comfyui) {
		const tone = { ready: "good", failed: "bad", restarting: "warn" }[comfyui.state];
		const again = comfyui.restarts ? `, started again ${comfyui.restarts === 1 ? "once" : `${comfyui.restarts} times`}` : "";
		yield ["ComfyUI", `${COMFYUI[comfyui.state] ?? comfyui.state}${again}`, tone];
		if (comfyui.last_error) yield ["Last ended", comfyui.last_error, comfyui.state === "ready" ? "" : "bad"];
	} else {
		yield ["GPU", "starts when a job comes"];
	}
	yield ["Queue", queue(jobs)];
	const ended = ["completed", "failed"].filter((name) => jobs[name]).map((name) => `${jobs[name]} ${name}`);
	if (ended.length) yield ["So far", ended.join(", ")];
	if (start?.seconds?.ready) yield ["Start took", duration(start.seconds.ready)];
	if (nodes) yield ["Custom nodes", ...customNodes(nodes)];
}

function queue({ inQueue = 0, inProgress }) {
	if (!inQueue && !inProgress) return "empty";
	return [inProgress ? `${inProgress} running` : "", inQueue ? `${inQueue} waiting` : ""].filter(Boolean).join(", ");
}

function customNodes({ state: name, nodes }) {
	if (name === "running") return ["being brought"];
	const failed = nodes.filter((node) => node.state === "failed").map((node) => node.name);
	if (failed.length) return [`${nodes.length - failed.length} of ${nodes.length} ready; failed: ${failed.join(", ")}`, "bad"];
	return [`${nodes.length} ready`];
}

function row([name]) {
	const text = el("dd");
	return Object.assign(el("div", {}, el("dt", {}, name), text), { parts: text });
}

function models(section) {
	by("models").hidden = !section;
	if (!section) return;
	const files = section.files ?? [];
	const ready = files.filter((file) => file.state === "ready");
	const rest = files.filter((file) => file.state !== "ready").sort((one, other) => order(one) - order(other));
	by("download").hidden = !comes(section);
	if (comes(section)) {
		fill(by("download-bar"), section.bytes_done, section.bytes_total);
		say(by("download-text"), left(section));
	}
	list(by("files"), rest, (file) => file.path, file, showFile);
	say(by("no-files"), files.length ? "" : none(section));
	by("ready-files").hidden = ready.length === 0;
	const size = ready.reduce((sum, one) => sum + one.bytes, 0);
	say(by("ready-files").querySelector("summary"), `${count(ready.length, "model")} ready, ${bytes(size)}`);
	list(by("ready-files").querySelector("ul"), ready, (one) => one.path, file, showFile);
}

const order = ({ state: name }) => ["failed", "downloading", "waiting"].indexOf(name);

function none(section) {
	if (section.error) return section.error.message;
	return section.state === "starting" ? "The volume is being looked at." : "None are asked for.";
}

function left(section) {
	const parts = [`${bytes(section.bytes_done)} of ${bytes(section.bytes_total)}`];
	if (section.bytes_per_second) parts.push(`${bytes(section.bytes_per_second)}/s`);
	if (section.seconds_left) parts.push(`${duration(section.seconds_left)} left`);
	return parts.join(" · ");
}

function file(one) {
	const parts = { bar: el("progress", { "aria-label": `Download of ${one.name}` }), figures: el("span", { class: "figures" }), problem: el("p", { class: "problem" }) };
	const name = el("span", { class: "name", title: one.path }, one.name, el("small", {}, one.directory));
	return Object.assign(el("li", {}, name, parts.figures, parts.bar, parts.problem), { parts });
}

function showFile({ parts }, one) {
	parts.bar.hidden = one.state !== "downloading";
	fill(parts.bar, one.bytes, one.size);
	const size = one.size ? bytes(one.size) : "";
	const words = { ready: size || bytes(one.bytes), waiting: `waits ${size}`, failed: "failed", downloading: one.size ? `${Math.floor((100 * one.bytes) / one.size)} % of ${size}` : bytes(one.bytes) };
	say(parts.figures, words[one.state] ?? one.state);
	parts.problem.hidden = !one.error;
	say(parts.problem, one.error?.message ?? "");
}
