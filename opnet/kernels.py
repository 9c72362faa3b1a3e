"""To stand beside torch while it computes: each kernel that it calls inside goes by here."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Kernels(TorchDispatchMode):
    """Inside, what `meet` gives stands in the place of each kernel's outputs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the first use imports torch's compiler: 1 to 2.5 s

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.meet(func, args, kwargs or {})

    def meet(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError
