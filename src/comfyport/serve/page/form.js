// The form of a workflow: a field for each input that is a value, and what of them was changed.

import * as api from "./api.js";
import { by, el, say } from "./dom.js";
import { bytes, count } from "./format.js";
import { SELDOM, settable } from "./workflow.js";

const DICE = 2 ** 50;

let input = null;
let controls = [];

/** Shows the form of a job's `input`, which came from something called `name`. */
export function show(given, name) {
	input = given;
	controls = [];
	const nodes = settable(given.workflow);
	by("fields").replaceChildren(...nodes.filter((node) => node.rank < SELDOM).map(group));
	by("more-fields").replaceChildren(...nodes.filter((node) => node.rank >= SELDOM).map(group));
	by("more").hidden = by("more-fields").childElementCount === 0;
	by("more").open = by("fields").childElementCount === 0;
	say(by("workflow-name"), name);
	say(by("workflow-facts"), count(Object.keys(given.workflow).length, "node"));
	by("form").hidden = false;
	choose(given.workflow);
}

/** Makes lists of the fields for which the server knows what there is to choose. */
async function choose(workflow) {
	const types = [...new Set(Object.values(workflow).map((node) => node.class_type))];
	let lists;
	try {
		lists = await api.json(`choices?${new URLSearchParams(types.map((type) => ["node", type]))}`);
	} catch {
		// A field to type in will do; a name that is wrong is told when the job is sent.
		return;
	}
	for (const control of controls) {
		const options = lists[control.class]?.[control.name];
		if (options && control.offer) control.offer(options);
	}
}

/** Takes the form away. */
export function clear() {
	input = null;
	by("form").hidden = true;
}

/** The job's `input` as the form has it now; seeds that are to be new each time are new. */
export async function job() {
	const set = { ...input.set };
	const sent = { images: [...(input.images ?? [])], files: [...(input.files ?? [])] };
	for (const control of controls) {
		const [value, upload] = await control.read();
		if (upload) sent[upload.list].push(upload.item);
		if (value !== control.given) set[control.target] = value;
	}
	return { ...input, ...(sent.images.length && { images: sent.images }), ...(sent.files.length && { files: sent.files }), set, previews: true };
}

function group(node) {
	const id = node.title === node.class ? `node ${node.id}` : `${node.class}, node ${node.id}`;
	const legend = el("legend", {}, node.title, " ", el("small", {}, id));
	return el("fieldset", {}, legend, ...node.fields.map((field) => row(node, field)));
}

let made = 0;

function row(node, field) {
	const id = `field-${(made += 1)}`;
	const target = `${node.id}.${field.name}`;
	const { elements, ...control } = KINDS[field.kind](field, id, target);
	controls.push({ target, class: node.class, name: field.name, given: field.value, ...control });
	const label = el("label", { for: id, title: `"${target}" in the job's “set”` }, field.name);
	return el("div", { class: `field ${field.kind}` }, label, ...elements);
}

const KINDS = {
	prompt(field, id) {
		const area = el("textarea", { id, rows: Math.min(8, Math.max(3, Math.ceil(field.value.length / 60))) });
		area.value = field.value;
		return { elements: [area], read: () => [area.value] };
	},
	text(field, id) {
		let line = el("input", { id, type: "text", spellcheck: "false", autocomplete: "off" });
		line.value = field.value;
		const offer = (options) => {
			// What stands there now may be missing, or still on its way.
			const all = options.includes(line.value) ? options : [line.value, ...options];
			const choice = el("select", { id }, ...all.map((option) => el("option", { value: option }, option)));
			choice.value = line.value;
			line.replaceWith(choice);
			line = choice;
		};
		return { elements: [line], read: () => [line.value], offer };
	},
	number(field, id) {
		const line = numberLine(field, id);
		return { elements: [line], read: () => [changedNumber(field, line.value)] };
	},
	seed(field, id) {
		const line = numberLine(field, id);
		const roll = () => (line.value = String(Math.floor(Math.random() * DICE)));
		const dice = el("button", { type: "button", class: "dice", onclick: roll, "aria-label": `New random ${field.name}`, title: "Roll" }, "⚄");
		const each = el("input", { type: "checkbox" });
		const read = () => {
			if (each.checked) roll();
			return [changedNumber(field, line.value)];
		};
		return { elements: [el("div", { class: "row" }, line, dice, el("label", { class: "check" }, each, "new each run"))], read };
	},
	switch(field, id) {
		const box = el("input", { id, type: "checkbox" });
		box.checked = field.value;
		return { elements: [box], read: () => [box.checked] };
	},
	file(field, id, target) {
		const chooser = el("input", { id, type: "file", "aria-describedby": `${id}-now` });
		const now = el("span", { id: `${id}-now`, class: "aside" }, `As it is: ${field.value}`);
		chooser.addEventListener("change", () => {
			const [file] = chooser.files;
			say(now, file ? bytes(file.size) : `As it is: ${field.value}`);
		});
		return { elements: [chooser, now], read: async () => uploaded(chooser.files[0], field, target) };
	},
};

function numberLine(field, id) {
	const line = el("input", { id, type: "number", step: "any", required: true, inputmode: "decimal" });
	line.value = field.value;
	return line;
}

/** The number that stands in a line: as it was written if it is too large for this language. */
function changedNumber(field, text) {
	if (text === field.value) return field.value;
	const large = /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text)) && JSON.rawJSON;
	return large ? JSON.rawJSON(text) : Number(text);
}

/** A file that was chosen: the name that the workflow is to say, and the file for the job's lists. */
async function uploaded(file, field, target) {
	if (!file) return [field.value];
	// Two nodes may be given files of one name.
	const name = `${target.replaceAll(/[^\w-]/g, "_")}/${file.name}`;
	const data = await new Promise((resolve, reject) => {
		const reader = new FileReader();
		reader.onload = () => resolve(reader.result);
		reader.onerror = () => reject(reader.error);
		reader.readAsDataURL(file);
	});
	const picture = file.type.startsWith("image/");
	return [name, { list: picture ? "images" : "files", item: picture ? { name, image: data } : { name, data } }];
}
