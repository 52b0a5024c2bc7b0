// The jobs that were run or opened here, each as a card: its progress, then what it made.

import * as api from "./api.js";
import { by, el, fill, say } from "./dom.js";
import { follow } from "./follow.js";
import { bytes, count, duration, ended, status } from "./format.js";
import { decoded, made } from "./outputs.js";

const MOST = 12;
const cards = new Map();

/** Shows a job, or moves to it if it is there; `told` hears how it ended: the body of `/status`. */
export function open(id, told = () => {}) {
	const there = cards.get(id);
	const card = there ?? new Card(id, told);
	if (!there) {
		cards.set(id, card);
		by("results").prepend(card.element);
		if (cards.size > MOST) cards.values().next().value.close();
	}
	card.element.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
	card.element.focus({ preventScroll: true });
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

class Card {
	constructor(id, told) {
		this.id = id;
		this.told = told;
		this.stop = new AbortController();
		this.free = [];
		this.state = el("p", { class: "pill", role: "status" });
		this.bar = el("progress", { "aria-label": "Progress of the job" });
		this.at = el("p", { class: "figures" }, "Sent");
		this.preview = el("img", { class: "preview", alt: "Preview of the picture under way", hidden: true });
		this.cancel = el("button", { type: "button", class: "plain", onclick: () => this.end() }, "Cancel");
		this.under = el("div", { class: "under-way" }, this.bar, this.at, this.preview);
		this.outcome = el("div", { class: "outcome" });
		const close = el("button", { type: "button", class: "plain", onclick: () => this.close(), "aria-label": "Close this job" }, "Close");
		const head = el("div", { class: "head" }, el("h2", { title: id }, "Job ", el("code", {}, id.slice(0, 8))), this.state, this.cancel, close);
		this.element = el("article", { class: "card", tabindex: "-1", "aria-label": `Job ${id}` }, head, this.under, this.outcome);
		this.tell("IN_QUEUE");
		this.follow();
	}

	async follow() {
		const lost = () => say(this.at, "The server is away. The job is looked for again when it is back.");
		try {
			await follow(this.id, { heard: (event) => this.heard(event), lost, signal: this.stop.signal });
		} catch (error) {
			if (!this.stop.signal.aborted) this.fail(this.words(error));
		}
	}

	words(error) {
		if (error instanceof api.Locked) return "The key is not right any more.";
		if (error.code === "job_unknown") return "The server does not know this job any more: it was started anew, or the result was kept long enough.";
		return error.message;
	}

	heard(event) {
		switch (event.type) {
			case "status":
				return this.tell(event.status);
			case "waiting_for_models":
				fill(this.bar);
				return say(this.at, awaited(event));
			case "progress":
				fill(this.bar, event.percent, 100);
				return say(this.at, step(event));
			case "preview":
				return this.show(new Blob([decoded(event.data)], { type: event.media_type === "image/png" ? "image/png" : "image/jpeg" }));
			case "result":
				return this.finish(event);
		}
	}

	tell(name) {
		const [word, tone] = status(name);
		say(this.state, word);
		this.state.dataset.tone = tone;
		this.element.dataset.status = name;
		this.cancel.hidden = ended(name);
		this.under.hidden = ended(name);
		if (name === "IN_QUEUE") say(this.at, "Waits for its turn");
		if (name === "IN_PROGRESS") say(this.at, "At work");
		fill(this.bar);
	}

	show(blob) {
		if (this.preview.src) URL.revokeObjectURL(this.preview.src);
		this.preview.src = URL.createObjectURL(blob);
		this.preview.hidden = false;
	}

	finish(state) {
		this.tell(state.status);
		this.told(state);
		this.outcome.replaceChildren();
		if (state.error) return this.fail(state.error, state.output?.error_code);
		const { elements, forget } = made(state.output ?? {});
		this.free.push(forget);
		const times = [
			state.delayTime === undefined ? "" : `waited ${duration(state.delayTime / 1000)}`,
			state.executionTime === undefined ? "" : `ran ${duration(state.executionTime / 1000)}`,
		].filter(Boolean);
		this.outcome.append(...elements);
		if (!elements.length && state.status === "COMPLETED") this.outcome.append(el("p", { class: "aside" }, "The workflow left nothing to show."));
		if (times.length) this.outcome.append(el("p", { class: "figures" }, times.join(", ")));
	}

	fail(text, code) {
		if (!ended(this.element.dataset.status)) this.tell("FAILED");
		this.outcome.replaceChildren(el("p", { class: "problem", role: "alert" }, text), ...(code ? [el("p", { class: "figures" }, code)] : []));
	}

	async end() {
		this.cancel.disabled = true;
		try {
			await api.post(`cancel/${this.id}`);
		} catch (error) {
			say(this.at, this.words(error));
		}
		this.cancel.disabled = false;
	}

	close() {
		this.stop.abort();
		this.free.forEach((forget) => forget());
		if (this.preview.src) URL.revokeObjectURL(this.preview.src);
		cards.delete(this.id);
		this.element.remove();
	}
}

function awaited(event) {
	const left = event.seconds_left === null ? "" : `, about ${duration(event.seconds_left)}`;
	return `Waits for ${count(event.models.length, "model")}: ${bytes(event.bytes_left)} left${left}`;
}

function step(event) {
	const steps = event.steps > 1 ? `, step ${event.step} of ${event.steps}` : "";
	return `${event.title}${steps}`;
}
