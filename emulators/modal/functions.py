"""Functions and classes: what a client declares, and what it gets to know about them again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.apps import App, Apps
from emulators.modal.rpc import json_format, refused

# The service refuses other names (the client does not look). Listed from memory: a new GPU may be missing.
GPU_TYPES = frozenset(
    {
        *("ANY", "T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB"),
        *("H100", "H100!", "H200", "B200", "B200+", "RTX-PRO-6000"),
    }
)
_OPTION_LISTS = {"secret_ids": "replace_secret_ids", "volume_mounts": "replace_volume_mounts"}
_AUTOSCALER_OPTIONS = {
    "concurrency_limit": "max_containers",
    "task_idle_timeout_secs": "scaledown_window",
    "warm_pool_size": "min_containers",
}


@dataclass
class Function:
    """A function, the service behind a class (named `Name.*`), or one of these bound to parameters.

    `definition` is what a container gets: for a list of GPUs, that of the first. `urls` maps a method's
    name, empty for a plain function, to its web address.
    """

    id: str
    app_id: str
    name: str
    metadata: Any
    urls: dict[str, str]
    definition: Any = None
    data: Any = None
    base_id: str = ""
    serialized_params: bytes = b""

    @property
    def gpus(self) -> list[str]:
        """The GPUs in order of preference, `TYPE` or `TYPE:COUNT`; empty for a CPU function."""
        configs = [ranked.function.resources.gpu_config for ranked in self.data.ranked_functions]
        return [f"{gpu.gpu_type}:{gpu.count}" if gpu.count > 1 else gpu.gpu_type for gpu in configs if gpu.count]


@dataclass
class Class:
    """A class: its methods run in the function named `Name.*`."""

    id: str
    app_id: str
    metadata: Any = field(default_factory=api_pb2.ClassHandleMetadata)


WebAddress = Callable[[App, str, str], str]


class Functions:
    """Answers the Function and Class RPCs; `web_address(app, function, method)` makes a URL that works."""

    def __init__(self, web_address: WebAddress) -> None:
        self._web_address = web_address
        self.apps: Apps
        self.by_id: dict[str, Function] = {}
        self.classes: dict[str, Class] = {}
        self._bound: dict[bytes, str] = {}

    async def function_precreate(self, request: api_pb2.FunctionPrecreateRequest) -> Any:
        """Gives a function its id and web addresses before it is defined."""
        app = self.apps.require(request.app_id)
        function_id = request.existing_function_id or f"fu-{len(self.by_id) + 1}"
        urls = self._urls(app, request)
        methods = {
            name: api_pb2.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                web_url=urls.get(name, ""),
                function_schema=method.function_schema,
                supported_input_formats=method.supported_input_formats,
                supported_output_formats=method.supported_output_formats,
                is_method=True,
                use_method_name=name,
                app_id=app.id,
            )
            for name, method in request.method_definitions.items()
        }
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=request.function_name,
            function_type=request.function_type,
            web_url=urls.get("", ""),
            method_handle_metadata=methods,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
            definition_id=f"de-{function_id}",
            app_id=app.id,
        )
        function = Function(function_id, app.id, request.function_name, metadata, urls)
        if function_id in self.by_id:
            # Until the new definition arrives, calls go on with the one that is live.
            function.definition = self.by_id[function_id].definition
            function.data = self.by_id[function_id].data
        self.by_id[function_id] = function
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    async def function_create(self, request: api_pb2.FunctionCreateRequest) -> Any:
        """Takes a function's definition; a list of GPUs comes as ranked copies of it."""
        function = self.require(request.existing_function_id)
        function.data = _as_data(request)
        function.definition = function.data.ranked_functions[0].function
        _check_gpus(function)
        function.data.web_url = function.urls.get("", "")
        function.metadata.class_parameter_info.CopyFrom(function.definition.class_parameter_info)
        function.metadata.is_method = function.definition.is_method
        for name, method in function.data.method_definitions.items():
            method.web_url = function.urls.get(name, "")
        return api_pb2.FunctionCreateResponse(
            function_id=function.id,
            handle_metadata=function.metadata,
            function=function.definition,
            function_data=function.data,
        )

    async def function_get(self, request: api_pb2.FunctionGetRequest) -> Any:
        """Finds a deployed function by name; a class is found as `Name.*`."""
        app = self.apps.deployed(request.app_name, request.environment_name)
        function_id = app.function_ids.get(request.object_tag)
        if function_id is None:
            raise refused(Status.NOT_FOUND, f"App {app.name!r} has no function {request.object_tag!r}.")
        function = self.require(function_id)
        return api_pb2.FunctionGetResponse(
            function_id=function_id, handle_metadata=function.metadata, function=function.data
        )

    async def function_get_by_id(self, request: api_pb2.FunctionGetByIdRequest) -> Any:
        """Finds a function by its id."""
        function = self.require(request.function_id)
        return api_pb2.FunctionGetByIdResponse(function=function.data, handle_metadata=function.metadata)

    async def function_bind_params(self, request: api_pb2.FunctionBindParamsRequest) -> Any:
        """Makes the variant of a class for given parameters and options; the same ones give the same id."""
        key = request.SerializeToString(deterministic=True)
        if key not in self._bound:
            self._bound[key] = self._bind(request).id
        bound = self.require(self._bound[key])
        return api_pb2.FunctionBindParamsResponse(bound_function_id=bound.id, handle_metadata=bound.metadata)

    async def class_create(self, request: api_pb2.ClassCreateRequest) -> Any:
        """Gives a class its id."""
        class_id = request.existing_class_id or f"cs-{len(self.classes) + 1}"
        self.classes[class_id] = Class(class_id, request.app_id)
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=self.classes[class_id].metadata)

    async def class_get(self, request: api_pb2.ClassGetRequest) -> Any:
        """Finds a deployed class by name."""
        app = self.apps.deployed(request.app_name, request.environment_name)
        class_id = app.class_ids.get(request.object_tag)
        if class_id is None:
            raise refused(Status.NOT_FOUND, f"App {app.name!r} has no class {request.object_tag!r}.")
        return api_pb2.ClassGetResponse(class_id=class_id, handle_metadata=self.classes[class_id].metadata)

    def require(self, function_id: str) -> Function:
        """The function with this id, or NOT_FOUND."""
        if function_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"Function {function_id!r} not found.")
        return self.by_id[function_id]

    def _urls(self, app: App, request: Any) -> dict[str, str]:
        urls = {}
        if request.webhook_config.type:
            urls[""] = self._web_address(app, request.function_name, "")
        for name, method in request.method_definitions.items():
            if method.webhook_config.type:
                urls[name] = self._web_address(app, request.function_name, name)
        return urls

    def _bind(self, request: Any) -> Function:
        base = self.require(request.function_id)
        data = api_pb2.FunctionData.FromString(base.data.SerializeToString())
        for ranked in data.ranked_functions:
            _apply_options(ranked.function, request.function_options)
        bound = Function(
            id=f"fu-{len(self.by_id) + 1}",
            app_id=base.app_id,
            name=base.name,
            metadata=base.metadata,
            urls=base.urls,
            definition=data.ranked_functions[0].function,
            data=data,
            base_id=base.id,
            serialized_params=request.serialized_params,
        )
        self.by_id[bound.id] = bound
        return bound


def _as_data(request: Any) -> Any:
    if request.function_data.ranked_functions:
        return request.function_data
    fields = json_format.MessageToDict(request.function, preserving_proto_field_name=True)
    data = json_format.ParseDict(fields, api_pb2.FunctionData(), ignore_unknown_fields=True)
    data.ranked_functions.add(rank=0, function=request.function)
    return data


def _check_gpus(function: Function) -> None:
    for ranked in function.data.ranked_functions:
        gpu = ranked.function.resources.gpu_config
        if gpu.count and gpu.gpu_type not in GPU_TYPES:
            raise refused(Status.INVALID_ARGUMENT, f"{gpu.gpu_type!r} is not a GPU type that Modal offers.")
        if gpu.count > 8:
            raise refused(Status.INVALID_ARGUMENT, f"Modal offers at most 8 GPUs, not {gpu.count}.")


def _apply_options(definition: Any, options: Any) -> None:
    """Lays `Cls.with_options(...)` over a definition: set values replace, lists replace or extend."""
    fields = definition.DESCRIPTOR.fields_by_name
    for option, value in options.ListFields():
        name = option.name
        if name in _AUTOSCALER_OPTIONS:
            setattr(definition.autoscaler_settings, _AUTOSCALER_OPTIONS[name], value)
        if name in _OPTION_LISTS:
            if getattr(options, _OPTION_LISTS[name]):
                definition.ClearField(name)
            getattr(definition, name).extend(value)
        elif name in fields and option.message_type is not None and not option.is_repeated:
            getattr(definition, name).CopyFrom(value)
        elif name in fields and not option.is_repeated:
            setattr(definition, name, value)
