// Follows a job to its end: by its events where the queue hears any, else by asking for its status.

import * as api from "./api.js";
import { ended } from "./format.js";

const ASK_EVERY = 1_500;
const WAITS = [1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * Tells `heard` of each event ({type: "status" | "progress" | "waiting_for_models" | "preview" | "result", …}) up to the
 * result, and `lost` while the server is away. Throws what the server refuses, and when `signal` says so.
 */
export async function follow(id, { heard, lost, signal }) {
	let after = "";
	let misses = 0;
	for (;;) {
		try {
			for await (const event of api.events(`stream/${id}`, { after, signal })) {
				misses = 0;
				after = event.id || after;
				const content = JSON.parse(event.data);
				heard(content);
				if (content.type === "result") return;
			}
			// Proxies end what lasts long; and a job may have ended before we asked.
			const state = await api.json(`status/${id}`, { signal });
			if (ended(state.status)) return heard({ type: "result", ...state });
		} catch (error) {
			if (error instanceof api.Refused && error.code === "not_offered") return byStatus(id, { heard, lost, signal });
			if (!(error instanceof api.Away)) throw error;
			lost();
		}
		await pause(WAITS[Math.min(misses, WAITS.length - 1)], signal);
		misses += 1;
	}
}

async function byStatus(id, { heard, lost, signal }) {
	for (;;) {
		try {
			const state = await api.json(`status/${id}`, { signal });
			if (ended(state.status)) return heard({ type: "result", ...state });
			heard({ type: "status", status: state.status });
		} catch (error) {
			if (!(error instanceof api.Away)) throw error;
			lost();
		}
		await pause(ASK_EVERY, signal);
	}
}

/** Waits; throws when `signal` says so. */
function pause(milliseconds, signal) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(resolve, milliseconds);
		signal.addEventListener("abort", () => {
			clearTimeout(timer);
			reject(signal.reason);
		});
	});
}
