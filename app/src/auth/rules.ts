export const roles = ["admin", "editor", "viewer"] as const;
export type Role = (typeof roles)[number];

/** Who may call a route. What is not listed here is refused. */
export interface Rule {
  method: "get" | "post" | "put" | "delete";
  /** The route's template, whole. */
  path: string;
  /** `public` needs no token. */
  allow: "public" | readonly Role[];
}

export const rules: readonly Rule[] = [
  { method: "get", path: "/health", allow: "public" },
  { method: "get", path: "/api/health", allow: "public" },
  { method: "get", path: "/ready", allow: "public" },
  { method: "post", path: "/api/v1/documents", allow: ["admin", "editor"] },
  { method: "get", path: "/api/v1/documents", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v1/documents/:id", allow: ["admin", "editor", "viewer"] },
  { method: "put", path: "/api/v1/documents/:id", allow: ["admin", "editor"] },
  { method: "delete", path: "/api/v1/documents/:id", allow: ["admin"] },
  { method: "post", path: "/api/v2/jobs", allow: ["admin", "editor"] },
  { method: "get", path: "/api/v2/jobs/:id", allow: ["admin", "editor", "viewer"] },
  { method: "get", path: "/api/v2/admin/dead-letters", allow: ["admin"] },
  { method: "post", path: "/api/v2/admin/dead-letters/:id/redrive", allow: ["admin"] },
];
