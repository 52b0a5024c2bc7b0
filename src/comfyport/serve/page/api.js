// Asks the endpoint that this page came from, with the key that was given in this tab. The key is never in an address.

const STORED = "comfyport-key";
const PATIENCE = 20_000;
// What a proxy says of a server that is not there.
const GONE = [502, 504];

/** The server cannot be reached. */
export class Away extends Error {}

/** The server asks for a key, or for another one than `tried`. */
export class Locked extends Error {
	constructor(tried) {
		super("The key is missing or wrong.");
		this.tried = tried;
	}
}

/** The server said no: `status` is HTTP's, `code` the error's (docs/errors.md). */
export class Refused extends Error {
	constructor(status, answer) {
		super(answer.error ?? `The server answered ${status}.`);
		this.status = status;
		this.code = answer.error_code ?? "";
	}
}

let key = sessionStorage.getItem(STORED) ?? "";

/** The key that was given; empty without one. */
export const givenKey = () => key;

/** Uses this key from now on, in this tab; an empty one is forgotten. */
export function useKey(given) {
	key = given;
	if (key) sessionStorage.setItem(STORED, key);
	else sessionStorage.removeItem(STORED);
}

/** The answer to a request. Throws Away, Locked or Refused. */
export async function ask(path, { method = "GET", headers = {}, body, signal, patience = PATIENCE } = {}) {
	const signals = [signal, patience && AbortSignal.timeout(patience)].filter(Boolean);
	const tried = key;
	const authorization = key ? { Authorization: `Bearer ${key}` } : {};
	let answer;
	try {
		answer = await fetch(path, {
			method,
			body,
			headers: { ...headers, ...authorization },
			signal: AbortSignal.any(signals),
			cache: "no-store",
			redirect: "error",
		});
	} catch (error) {
		if (signal?.aborted) throw error;
		throw new Away(error.message);
	}
	if (answer.ok) return answer;
	if (GONE.includes(answer.status)) throw new Away(`a proxy answered ${answer.status}`);
	if (answer.status === 401) throw new Locked(tried);
	throw new Refused(answer.status, await answer.json().catch(() => ({})));
}

/** The JSON that the server answers with. */
export async function json(path, options) {
	const answer = await ask(path, options);
	try {
		return await answer.json();
	} catch (error) {
		throw new Away(error.message);
	}
}

/** Sends JSON; the JSON that comes back. */
export const post = (path, content, options) =>
	json(path, { ...options, method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

/** Server-sent events as {id, event, data} until the stream ends. */
export async function* events(path, { after = "", signal } = {}) {
	const headers = { Accept: "text/event-stream", ...(after && { "Last-Event-ID": after }) };
	const answer = await ask(path, { headers, signal, patience: 0 });
	if (!answer.body) return;
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	let pending = "";
	for (;;) {
		let part;
		try {
			part = await reader.read();
		} catch (error) {
			if (signal?.aborted) throw error;
			throw new Away(error.message);
		}
		if (part.done) return;
		const blocks = (pending + part.value).split("\n\n");
		pending = blocks.pop();
		for (const block of blocks) {
			const event = parsed(block);
			if (event.data) yield event;
		}
	}
}

function parsed(block) {
	const event = { id: "", event: "message", data: "" };
	for (const line of block.split("\n")) {
		const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
		if (name in event) event[name] += name === "data" ? value : "";
		if (name === "id" || name === "event") event[name] = value;
	}
	return event;
}
