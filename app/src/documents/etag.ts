import type { Request } from "express";
import { invalid } from "../http/problem.ts";
import type { StoredDocument } from "./document.ts";

/** Every version of a document has an `updatedAt` of its own. */
export function etagOf({ updatedAt }: StoredDocument): string {
  return `"${updatedAt}"`;
}

/**
 * The version that If-Match asks for; undefined when any will do. A document is changed only from what its caller has
 * seen if the caller sends the ETag along. @throws a 400 problem for what is not one ETag of ours.
 */
export function expectedVersion(request: Request): string | undefined {
  const header = request.get("if-match");
  if (header === undefined || header.trim() === "*") {
    return undefined;
  }
  const [, version] = /^\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"\s*$/.exec(header) ?? [];
  if (version === undefined || Number.isNaN(Date.parse(version))) {
    throw invalid([{ field: "If-Match", message: "expected the ETag of an earlier answer, or *" }]);
  }
  return version;
}
