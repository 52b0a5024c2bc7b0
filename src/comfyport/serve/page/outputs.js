// What a job made: pictures, videos and sounds to see and hear, everything to keep.

import { by, el } from "./dom.js";
import { bytes } from "./format.js";

// What may be shown as what it says it is. A picture never runs anything; all else is only handed over.
const SHOWN = /^(image\/(png|jpeg|webp|gif|avif|bmp|apng|svg\+xml)|video\/(mp4|webm|ogg|quicktime)|audio\/(mpeg|mp4|ogg|wav|x-wav|flac|x-flac|webm|aac))$/;
const LISTS = ["images", "videos", "audio", "files"];

/** Elements for all that an answer holds, and `forget`, which frees what they show. */
export function made(answer) {
	const addresses = [];
	const keep = (blob) => {
		addresses.push(URL.createObjectURL(blob));
		return addresses.at(-1);
	};
	const files = LISTS.flatMap((list) => answer[list] ?? []).map((item) => figure(item, keep));
	const texts = (answer.text ?? []).map((item) => el("pre", { class: "transcript", tabindex: "0" }, String(item.data)));
	const errors = (answer.errors ?? []).map((text) => el("p", { class: "problem" }, String(text)));
	const elements = [...(files.length ? [el("div", { class: "made" }, ...files)] : []), ...texts, ...errors];
	return { elements, forget: () => addresses.forEach((address) => URL.revokeObjectURL(address)) };
}

function figure(item, keep) {
	const name = String(item.filename ?? "file");
	if (item.type !== "base64") return el("figure", { class: "kept" }, el("figcaption", {}, elsewhere(item, name)));
	const type = SHOWN.test(item.media_type) ? item.media_type : "application/octet-stream";
	const address = keep(new Blob([decoded(item.data)], { type }));
	const save = el("a", { href: address, download: name.split(/[\\/]/).pop(), class: "save" }, "Download");
	const size = item.size === undefined ? null : el("span", { class: "figures" }, bytes(item.size));
	return el("figure", {}, player(type, address, name), el("figcaption", {}, el("span", { class: "name", title: name }, name), size, save));
}

function player(type, address, name) {
	if (type.startsWith("image/")) {
		const picture = el("img", { src: address, alt: name, loading: "lazy" });
		return el("button", { type: "button", class: "view", onclick: () => enlarge(address, name), "aria-label": `Enlarge ${name}` }, picture);
	}
	if (type.startsWith("video/")) return el("video", { src: address, controls: true, loop: true, playsinline: true, "aria-label": name });
	if (type.startsWith("audio/")) return el("audio", { src: address, controls: true, "aria-label": name });
	return null;
}

function enlarge(address, name) {
	const viewer = by("viewer");
	const picture = viewer.querySelector("img");
	picture.src = address;
	picture.alt = name;
	viewer.showModal();
}

/** A file that is in a bucket or on the volume; this page loads nothing from elsewhere. */
function elsewhere(item, name) {
	const text = String(item.data);
	if (item.type === "s3_url" && /^https?:\/\//.test(text)) {
		return el("a", { href: text, target: "_blank", rel: "noopener noreferrer" }, name, " (in the bucket)");
	}
	return el("span", {}, name, " ", el("code", {}, text));
}

/** The bytes of a base64 text, which may be a data URI. */
export function decoded(text) {
	return Uint8Array.from(atob(text.replace(/^data:[^,]*,/, "")), (character) => character.charCodeAt(0));
}
