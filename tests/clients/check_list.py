"""The checks that a file declares, under names that `--only` can choose from."""

from __future__ import annotations

from collections.abc import Callable

from canary import Canary

Check = Callable[[Canary], None]


class Checks(list[tuple[str, Check]]):
    """In the order in which they run."""

    def add(self, name: str) -> Callable[[Check], Check]:
        """Adds the function below as a check of that name."""

        def append(body: Check) -> Check:
            self.append((name, body))
            return body

        return append
