import express, { type RequestHandler } from "express";
import { invalid } from "./problem.ts";
import { textFault } from "./text.ts";

/** Deeper than any body of ours, and far from what could exhaust a stack. */
const deepest = 32;

/** Reads JSON bodies up to the limit, and refuses those that hold what no route can have use for. */
export function readBodies(limitKiB: number): RequestHandler[] {
  return [
    express.json({ limit: `${limitKiB}kb`, strict: true }),
    (request, _response, next) => {
      refuseUnusable(request.body, []);
      next();
    },
  ];
}

function refuseUnusable(value: unknown, path: readonly string[]): void {
  const fault = faultOf(value, path.length);
  if (fault !== undefined) {
    throw invalid([{ field: path.join(".") || "body", message: fault }]);
  }
  if (typeof value === "object" && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      // Harmless as JSON.parse makes it; not so once it is merged into another object.
      if (key === "__proto__") {
        throw invalid([{ field: [...path, key].join("."), message: "no such field" }]);
      }
      refuseUnusable(member, [...path, key]);
    }
  }
}

function faultOf(value: unknown, depth: number): string | undefined {
  if (typeof value === "string") {
    return textFault(value);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    return "must be a number that can be represented";
  }
  return depth > deepest ? `must not be nested deeper than ${deepest} levels` : undefined;
}
