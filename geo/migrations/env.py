"""How Alembic sees this project: one connection given by `geo.schema`, our schema, our metadata."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from geoalchemy2 import alembic_helpers

import geo.casework
import geo.disclosure
import geo.exchanges
import geo.grading
import geo.identity
import geo.spine
import geo.timekeeping  # noqa: F401  (their tables are part of the metadata)
from geo.tables import metadata


def rendered(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Our own column types, written with the module they come from."""
    if kind == "type" and type(item).__module__ == "geo.spine":
        autogen.imports.add("import geo.spine")
        return f"geo.spine.{type(item).__name__}()"
    known: str | Literal[False] = alembic_helpers.render_item(kind, item, autogen)  # type: ignore[no-untyped-call]
    return known


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Our schema is the default one, and so has no name here: left out, everything there is would be drafted anew.
    include_name=lambda name, kind, parents: (kind != "schema" or name is None) and name != "spatial_ref_sys",
    render_item=rendered,
    compare_server_default=True,
    version_table="alembic_version",
)
with context.begin_transaction():
    context.run_migrations()
