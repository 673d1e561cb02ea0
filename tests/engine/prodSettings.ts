/** Productions that the committed file does not show: what is laid over it. Null takes away what is configured. */

const zero = "00000000-0000-0000-0000-000000000000";

/** Without it the cluster that an up makes could not be worked on by the same up. */
const reachable = { access: "allowlist", allowlist: ["203.0.113.7/32"] };

/** Somebody notices when alerting has stopped. */
const watched = { "groundwork:monitoring": { notifications: { deadMansSwitch: {} } } };

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
    ...reachable,
    aks: { adminGroupIds: [zero] },
    registry: { create: true },
    dnsZone: { name: "example.com", resourceGroup: "names" },
    budget: { monthlyAmount: 2000, from: "2027-01-01", emails: ["ops@example.com"] },
  },
};

/** What a configuration of an earlier release must be given to be taken, by the name of the production. */
export const sinceReleases: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  existing: watched,
  created: { ...watched, "groundwork:azure": reachable },
};

/** By its name: the committed file, which works on an existing cluster with servers of its own; and the one above. */
export const productions: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  existing: {},
  created,
};
