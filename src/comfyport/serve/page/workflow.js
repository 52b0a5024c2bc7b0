// A file that was dropped -> the job's input, and what of its workflow a person may want to set.

import { isPng, texts } from "./png.js";

const PROMPT = /^(text|prompt|positive|negative|caption|text_[gl]|clip_l|t5xxl|.*_prompt|prompt_.*)$/i;
const SEED = /^(seed|noise_seed|.*_seed)$/i;
const SIZE = /^(width|height|batch_size|length|frames|fps|steps|cfg|denoise)$/i;
const LOADER = /load/i;
const MEDIA = /\.(png|jpe?g|webp|gif|bmp|tiff?|avif|mp4|mov|webm|mkv|avi|wav|mp3|flac|ogg|opus|m4a|glb|gltf|obj|stl|ply)$/i;
const LONG = 60;
const EXPORT = "In ComfyUI choose Workflow, then “Export (API)”, and drop that file.";

/** What a person should do about a file that is no workflow. */
export class NoWorkflow extends Error {}

/** The `input` of a job from a file: a workflow in API format, a whole job, or a PNG that ComfyUI made. */
export async function read(file) {
	const content = new Uint8Array(await file.arrayBuffer());
	if (!isPng(content)) return understood(new TextDecoder().decode(content));
	const text = texts(content).get("prompt");
	if (!text) throw new NoWorkflow("This picture has no workflow in it: ComfyUI's SaveImage writes one, most programs drop it.");
	return understood(text);
}

/** The `input` of a job from its JSON. Throws NoWorkflow. */
export function understood(text) {
	const found = parsed(text);
	const input = isObject(found) && isObject(found.input) ? found.input : found;
	const given = isObject(input) && isObject(input.workflow) ? input : { workflow: input };
	const { workflow } = given;
	if (!isObject(workflow) || Object.keys(workflow).length === 0) throw new NoWorkflow(`This is JSON, but no workflow. ${EXPORT}`);
	if (Array.isArray(workflow.nodes)) throw new NoWorkflow(`This workflow is in the format of ComfyUI's editor. ${EXPORT}`);
	if (!Object.values(workflow).every((node) => isObject(node) && typeof node.class_type === "string")) {
		throw new NoWorkflow(`This is JSON, but its entries are not nodes: they have no “class_type”. ${EXPORT}`);
	}
	return given;
}

/**
 * The nodes that have something to set, the most telling first:
 * [{id, title, class, rank, fields: [{name, kind, value}]}], `kind` one of prompt, text, number, seed, switch, file.
 */
export function settable(workflow) {
	return Object.entries(workflow)
		.map(([id, node]) => {
			const fields = Object.entries(node.inputs ?? {}).flatMap(([name, value]) => field(name, value, node.class_type));
			const rank = Math.min(...fields.map((one) => one.rank));
			return { id, title: String(node._meta?.title || node.class_type), class: node.class_type, rank, fields };
		})
		.filter((node) => node.fields.length > 0)
		.sort((one, other) => one.rank - other.rank);
}

/** The rank from which on a node belongs to the settings that few people change. */
export const SELDOM = 3;

function field(name, value, classType) {
	if (typeof value === "boolean") return [{ name, value, kind: "switch", rank: SELDOM }];
	const number = typeof value === "number" ? String(value) : value?.rawJSON;
	if (number !== undefined) {
		if (SEED.test(name)) return [{ name, value: number, kind: "seed", rank: 1 }];
		return [{ name, value: number, kind: "number", rank: SIZE.test(name) ? 2 : SELDOM }];
	}
	if (typeof value !== "string") return [];
	if (LOADER.test(classType) && MEDIA.test(value)) return [{ name, value, kind: "file", rank: 0 }];
	if (PROMPT.test(name) || value.length > LONG || value.includes("\n")) return [{ name, value, kind: "prompt", rank: 0 }];
	return [{ name, value, kind: "text", rank: SELDOM }];
}

/** JSON, with every number kept as it is written: seeds go up to 2^64, numbers of this language to 2^53. */
function parsed(text) {
	const exact = (_key, value, context) =>
		typeof value === "number" && JSON.rawJSON && context?.source !== undefined && context.source !== String(value)
			? JSON.rawJSON(context.source)
			: value;
	try {
		return JSON.parse(withoutNaN(text), exact);
	} catch (error) {
		throw new NoWorkflow(`This is no JSON: ${error.message}. ${EXPORT}`);
	}
}

/** ComfyUI writes NaN into its pictures, a word that JSON does not have. */
const withoutNaN = (text) =>
	text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs, (found) => (found.startsWith('"') ? found : "null"));

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
