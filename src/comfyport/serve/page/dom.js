// Makes and keeps elements. Every string becomes text or an attribute's value, never markup.

/** An element; attributes that are functions (`onclick`) are listeners, `true` is an empty one, `false` is left out. */
export function el(tag, attributes = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") made.addEventListener(name.slice(2), value);
		else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
	}
	made.append(...children.filter((child) => child !== null && child !== undefined));
	return made;
}

/** The element of the page with this id. */
export const by = (id) => document.getElementById(id);

/** Sets a text, only if it is another: a live region would be read out again. */
export function say(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

/** Sets a progress bar; without `of`, nobody knows how much there is. */
export function fill(bar, done, of) {
	if (of) {
		bar.max = of;
		bar.value = Math.min(done, of);
	} else {
		bar.removeAttribute("value");
	}
}

const kept = new WeakMap();

/** Shows one child per item, in order; a child is made once for each key, so that focus and open parts stay. */
export function list(parent, items, key, make, update) {
	const before = kept.get(parent) ?? new Map();
	const now = new Map();
	for (const item of items) {
		const child = before.get(key(item)) ?? make(item);
		update(child, item);
		now.set(key(item), child);
	}
	for (const [name, child] of before) if (now.get(name) !== child) child.remove();
	let place = parent.firstElementChild;
	for (const child of now.values()) {
		if (child === place) place = place.nextElementSibling;
		else parent.insertBefore(child, place);
	}
	kept.set(parent, now);
}
