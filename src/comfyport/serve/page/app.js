// The page: looks after the worker again and again, and lets a person run a workflow.

import * as api from "./api.js";
import { by, say } from "./dom.js";
import { EXAMPLE } from "./example.js";
import * as form from "./form.js";
import * as jobs from "./jobs.js";
import * as logs from "./logs.js";
import * as results from "./results.js";
import * as worker from "./worker.js";
import { NoWorkflow, read } from "./workflow.js";

const WHILE_BUSY = 1_000;
const WHILE_CALM = 3_000;
// Where there is nothing but a queue to look at (Modal), each look costs its owner a moment of a container.
const WITHOUT_BOARD = 15_000;
// An endpoint that is away is asked less and less often.
const AWAY = [1_000, 2_000, 4_000, 8_000, 15_000];

let misses = 0;
let timer = 0;
let looking = null;
let locked = false;

/** Looks at the worker now, and again when it is time; a hidden page lets it be. */
function look() {
	clearTimeout(timer);
	looking ??= looked().finally(() => (looking = null));
	return looking;
}

async function looked() {
	let wait = WHILE_CALM;
	try {
		const health = await api.json("health");
		const [word, tone] = worker.show(health);
		back();
		state(word, tone);
		if (Object.keys(health.status).length === 0) wait = WITHOUT_BOARD;
		else if (tone === "busy") wait = WHILE_BUSY;
		await guarded();
	} catch (error) {
		if (!(error instanceof api.Away || error instanceof api.Refused)) throw error;
		wait = away();
	} finally {
		if (!document.hidden) timer = setTimeout(look, wait);
	}
}

/** What needs the key, where there is one. */
async function guarded() {
	// The answer is known; asking again would fill the browser's console and the server's log.
	if (locked && !api.givenKey()) return;
	try {
		await jobs.refresh();
		open();
		await logs.refresh();
	} catch (error) {
		if (!(error instanceof api.Locked)) throw error;
		lock(error.tried);
	}
}

function state(word, tone) {
	say(by("state"), word);
	by("state").dataset.tone = tone;
	document.title = word === "Ready" ? "comfyport" : `${word} · comfyport`;
}

function away() {
	const wait = AWAY[Math.min(misses, AWAY.length - 1)];
	misses += 1;
	state("Away", "bad");
	by("away").hidden = false;
	say(by("away").querySelector("p"), "The server does not answer. What is below is how it was; it is asked again by itself.");
	document.body.classList.add("stale");
	return wait;
}

function back() {
	if (misses) logs.restart();
	misses = 0;
	by("away").hidden = true;
	document.body.classList.remove("stale");
}

const GUARDED = ["run", "results", "jobs", "log"];

function open() {
	locked = false;
	for (const id of GUARDED) by(id).hidden = false;
	by("key").hidden = true;
	by("forget").hidden = !api.givenKey();
	say(by("key-problem"), "");
}

/** The server refused the key that was tried, or wants one. */
function lock(tried) {
	locked = true;
	for (const id of GUARDED) by(id).hidden = true;
	by("key").hidden = false;
	by("forget").hidden = true;
	// Another one may have been given meanwhile.
	if (tried && tried === api.givenKey()) {
		api.useKey("");
		say(by("key-problem"), "This key was refused.");
		by("key-field").focus();
	}
}

by("key").querySelector("form").addEventListener("submit", async (event) => {
	event.preventDefault();
	say(by("key-problem"), "");
	api.useKey(by("key-field").value.trim());
	by("key-field").value = "";
	await looking;
	await look();
});

by("forget").addEventListener("click", () => {
	api.useKey("");
	location.reload();
});

by("away").querySelector("button").addEventListener("click", look);
by("log").addEventListener("toggle", look);
document.addEventListener("visibilitychange", () => !document.hidden && look());

async function take(file) {
	say(by("workflow-problem"), "");
	try {
		form.show(await read(file), file.name);
	} catch (error) {
		if (!(error instanceof NoWorkflow)) throw error;
		form.clear();
		say(by("workflow-problem"), error.message);
	}
}

by("workflow-file").addEventListener("change", (event) => {
	const [file] = event.target.files;
	if (file) take(file);
	// The same file may be chosen again.
	event.target.value = "";
});

by("example").addEventListener("click", () => {
	say(by("workflow-problem"), "");
	form.show({ workflow: EXAMPLE }, "An example");
});
by("clear").addEventListener("click", form.clear);

// A file that misses the field must not be opened by the browser in place of the page.
for (const name of ["dragover", "drop", "dragleave"]) {
	document.addEventListener(name, (event) => {
		event.preventDefault();
		by("drop").classList.toggle("over", name === "dragover");
		const [file] = name === "drop" ? event.dataTransfer.files : [];
		if (file && !by("run").hidden) take(file);
	});
}

by("form").addEventListener("submit", async (event) => {
	event.preventDefault();
	const problem = by("send-problem");
	say(problem, "");
	by("send").disabled = true;
	try {
		const { id } = await api.post("run", { input: await form.job() }, { patience: 0 });
		jobs.remember(id);
		results.open(id, (state) => {
			jobs.end(state);
			look();
		});
		look();
	} catch (error) {
		if (error instanceof api.Away) say(problem, "The server does not answer; nothing was sent.");
		else if (error instanceof api.Locked) look();
		else say(problem, error.message);
	} finally {
		by("send").disabled = false;
	}
});

look();
