import type { LimitName } from "../http/rateLimit.ts";

export const roles = ["admin", "editor", "viewer"] as const;
export type Role = (typeof roles)[number];

/** Who may call a route. What is not listed here is refused. */
export interface Rule {
  method: "get" | "post" | "put" | "patch" | "delete";
  /** The route's template, whole. */
  path: string;
  /** `public` needs no token. */
  allow: "public" | readonly Role[];
  /** A limit of its own per user, besides that of all the tenant's requests. */
  limit?: LimitName;
}

/** The documents' rules, which are the same in both versions of the API. */
function documentRules(base: string): Rule[] {
  return [
    { method: "post", path: base, allow: ["admin", "editor"] },
    { method: "get", path: base, allow: ["admin", "editor", "viewer"] },
    { method: "get", path: `${base}/:id`, allow: ["admin", "editor", "viewer"] },
    { method: "put", path: `${base}/:id`, allow: ["admin", "editor"] },
    { method: "delete", path: `${base}/:id`, allow: ["admin"] },
  ];
}

/** Tried one after the other: what is asked for most stands first. */
export const rules: readonly Rule[] = [
  ...documentRules("/api/v1/documents"),
  ...documentRules("/api/v2/documents"),
  { method: "patch", path: "/api/v2/documents/:id", allow: ["admin", "editor"] },
  { method: "get", path: "/health", allow: "public" },
  { method: "get", path: "/api/health", allow: "public" },
  { method: "get", path: "/ready", allow: "public" },
  { method: "get", path: "/api/openapi.json", allow: "public" },
  { method: "get", path: "/api/docs", allow: "public" },
  { method: "get", path: "/api/v2/notice", allow: "public" },
  { method: "post", path: "/api/v2/auth/sign-in", allow: "public" },
  { method: "post", path: "/api/v2/auth/refresh", allow: "public" },
  { method: "post", path: "/api/v2/auth/sign-out", allow: "public" },
  { method: "post", path: "/api/v2/auth/session", allow: "public" },
  { method: "delete", path: "/api/v2/auth/session", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v2/auth/me", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v2/admin/users", allow: ["admin"] },
  { method: "post", path: "/api/v2/admin/users", allow: ["admin"] },
  { method: "patch", path: "/api/v2/admin/users/:id", allow: ["admin"] },
  { method: "delete", path: "/api/v2/admin/users/:id/sessions", allow: ["admin"] },
  { method: "get", path: "/api/v2/admin/audit", allow: ["admin"] },
  { method: "post", path: "/api/v2/chat", allow: ["admin", "editor", "viewer"], limit: "chat" },
  // Each question over it is counted as one at /api/v2/chat.
  { method: "get", path: "/api/v2/chat/ws", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v2/chat/:answerId/events", allow: ["admin", "editor", "viewer"] },
  { method: "post", path: "/api/v2/chat/:answerId/feedback", allow: ["admin", "editor", "viewer"] },
  { method: "post", path: "/api/v2/speech", allow: ["admin", "editor", "viewer"], limit: "chat" },
  { method: "post", path: "/api/v2/ocr", allow: ["admin", "editor", "viewer"], limit: "chat" },
  { method: "post", path: "/api/v2/jobs", allow: ["admin", "editor"], limit: "chat" },
  { method: "get", path: "/api/v2/jobs/:id", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v2/admin/dead-letters", allow: ["admin"] },
  { method: "post", path: "/api/v2/admin/dead-letters/:id/redrive", allow: ["admin"] },
];
