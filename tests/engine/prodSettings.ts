/** Productions that the committed file does not show: what is laid over it. Null takes away what is configured. */

const zero = "00000000-0000-0000-0000-000000000000";

/** From an empty subscription: a cluster, a registry and a DNS record of its own, Azure's data
 * services, and the images built by the stack. */
export const created = {
  "groundwork:cluster": null,
  "groundwork:images": null,
  "groundwork:build": { repository: "registry.example.com/groundwork" },
  "groundwork:postgres": { kind: "managed" },
  "groundwork:redis": { kind: "managed" },
  "groundwork:azure": {
    cluster: "create",
    existing: null,
    aks: { adminGroupIds: [zero] },
    registry: { create: true },
    dnsZone: { name: "example.com", resourceGroup: "names" },
    budget: { monthlyAmount: 2000, from: "2027-01-01", emails: ["ops@example.com"] },
  },
};

/** By its name: the committed file, which works on an existing cluster with servers of its own; and the one above. */
export const productions: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  existing: {},
  created,
};
