/** `make docs`: writes what is generated in docs/ from the code that it is about. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { flows, workloads } from "../../components/flows.ts";
import { configurationPage } from "./configuration.ts";
import { flowDiagrams, withFlowDiagrams } from "./flows.ts";

const docs = join(import.meta.dirname, "..");
const architecture = join(docs, "architecture.md");

writeFileSync(join(docs, "configuration.md"), configurationPage());
writeFileSync(
  architecture,
  withFlowDiagrams(readFileSync(architecture, "utf8"), flowDiagrams(flows, workloads)),
);
