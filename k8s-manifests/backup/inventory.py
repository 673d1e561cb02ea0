"""What a database holds, in a form that tells whether a restored copy is the same."""

from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

# Neither the system's own tables nor those that an extension makes again by itself.
TABLES = """
    SELECT n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
      )
    ORDER BY 1, 2
"""
CONSTRAINTS = """
    SELECT format('%I.%s', n.nspname, quote_ident(c.conname)), c.convalidated
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid IN (c.oid, c.conrelid, c.contypid) AND d.deptype = 'e')
    ORDER BY 1
"""
ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"


def take_inventory(cursor: Cursor, migrations_table: str) -> dict[str, Any]:
    """Rows per table, constraints, roles and versions, as the cursor's transaction sees them."""
    cursor.execute(TABLES)
    tables = {f"{schema}.{table}": count_rows(cursor, schema, table) for schema, table in cursor.fetchall()}
    cursor.execute(CONSTRAINTS)
    constraints = cursor.fetchall()
    cursor.execute(ROLES)
    roles = [name for (name,) in cursor.fetchall()]
    return {
        "postgresVersion": scalar(cursor, "SHOW server_version"),
        "schemaVersion": schema_version(cursor, migrations_table),
        "databaseBytes": int(scalar(cursor, "SELECT pg_database_size(current_database())")),
        "tables": tables,
        "constraints": len(constraints),
        "notValidConstraints": [name for name, valid in constraints if not valid],
        "roles": roles,
    }


def scalar(cursor: Cursor, query: str | sql.Composable, parameters: tuple[str, ...] = ()) -> Any:
    """The first column of the first row; None if there is no row."""
    cursor.execute(query, parameters)
    row = cursor.fetchone()
    return row[0] if row else None


def count_rows(cursor: Cursor, schema: str, table: str) -> int:
    return int(scalar(cursor, sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))))


def schema_version(cursor: Cursor, migrations_table: str) -> str | None:
    """Name of the last migration; nothing in a database that has never been migrated."""
    if scalar(cursor, "SELECT to_regclass(%s)", (migrations_table,)) is None:
        return None
    table = sql.Identifier(*migrations_table.split("."))
    version: str | None = scalar(cursor, sql.SQL("SELECT name FROM {} ORDER BY id DESC LIMIT 1").format(table))
    return version
