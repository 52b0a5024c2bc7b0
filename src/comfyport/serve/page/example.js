// A workflow that runs on any ComfyUI without a model: a picture of one colour, made larger.

export const EXAMPLE = {
	1: {
		class_type: "EmptyImage",
		inputs: { width: 64, height: 48, batch_size: 1, color: 684896 },
		_meta: { title: "A colour" },
	},
	2: {
		class_type: "ImageScale",
		inputs: { image: ["1", 0], upscale_method: "nearest-exact", width: 512, height: 384, crop: "disabled" },
		_meta: { title: "Larger" },
	},
	3: { class_type: "SaveImage", inputs: { images: ["2", 0], filename_prefix: "example" }, _meta: { title: "Save" } },
};
