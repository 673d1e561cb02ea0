import { join } from "node:path";

import { runTool } from "./tools.ts";

/** The backups' programs without the libraries that reach a server and a store; what they raise is there. */
const withoutLibraries = `
import json, sys
from unittest.mock import MagicMock
sys.path.insert(0, sys.argv[1])
given = json.loads(sys.argv[2])
for name in ("psycopg2", "psycopg2.extensions", "psycopg2.extras", "azure.core.exceptions", "azure.storage.blob"):
    sys.modules[name] = MagicMock()
sys.modules["psycopg2"].Error = type("Error", (Exception,), {})
for name in ("AzureError", "ResourceExistsError", "ResourceNotFoundError"):
    setattr(sys.modules["azure.core.exceptions"], name, type(name, (Exception,), {}))
`;

/** Runs lines of Python that may import the programs, with `given`; gives what they print, as JSON. */
export function inPrograms(lines: string, given: unknown): unknown {
  const programs = join(import.meta.dirname, "../../k8s-manifests/backup");
  const args = ["-B", "-c", withoutLibraries + lines, programs, JSON.stringify(given)];
  const { passed, output } = runTool("python3", args);
  if (!passed) throw new Error(output);
  return JSON.parse(output);
}
