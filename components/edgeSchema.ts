import { z } from "zod";

import { cidr, kubernetesName, resources } from "./schemaParts.ts";

/** `groundwork:edge`. */
export const edgeSchema = z
  .strictObject({
    mode: z
      .enum(["nginx", "controller"])
      .default("nginx")
      .describe(
        "an nginx of our own, or Ingress objects for the cluster's F5 NGINX Ingress Controller (edge.md); " +
          "service, replicas, resources, trustedProxies and limits.connectionsPerAddress are for nginx only",
      ),
    controller: z
      .strictObject({
        ingressClass: kubernetesName.default("nginx").describe("IngressClass that the controller serves"),
        namespace: kubernetesName
          .default("nginx-ingress")
          .describe("namespace of the controller's pods, for network policies"),
        tlsSecretName: kubernetesName
          .default("edge-tls")
          .describe(
            "Secret of the certificate, in the namespace app; made from tlsBundle or by cert-manager, or put there by a person",
          ),
      })
      .prefault({}),
    hosts: z
      .array(
        z
          .hostname()
          .regex(/^[a-z0-9.-]*[a-z0-9]$/, "must be a host name in small letters without a dot at its end"),
      )
      .min(1)
      .refine(
        (hosts) => new Set(hosts.map((host) => host.replaceAll(".", "-"))).size === hosts.length,
        "must differ from each other, in more than dots and hyphens",
      )
      .default(["localhost"])
      .describe("host names that the edge serves"),
    service: z
      .discriminatedUnion("type", [
        z
          .strictObject({
            type: z.literal("NodePort"),
            httpsPort: z.int().min(30_000).max(32_767),
            httpPort: z.int().min(30_000).max(32_767),
          })
          .refine(({ httpsPort, httpPort }) => httpsPort !== httpPort, {
            path: ["httpPort"],
            message: "must be another port than httpsPort",
          }),
        z.strictObject({
          type: z.literal("LoadBalancer"),
          annotations: z.record(z.string(), z.string()).default({}),
        }),
      ])
      .default({ type: "LoadBalancer", annotations: {} })
      .describe("how clients reach the edge"),
    certificate: z
      .discriminatedUnion("from", [
        z.strictObject({ from: z.literal("given") }),
        z.strictObject({
          from: z.literal("keyVault"),
          name: z.string().regex(/^[0-9A-Za-z-]{1,127}$/, "must be the name of a certificate in the vault"),
        }),
        z.strictObject({
          from: z.literal("certManager"),
          issuer: z.strictObject({
            kind: z.enum(["ClusterIssuer", "Issuer"]).default("ClusterIssuer"),
            name: z.string().min(1),
          }),
        }),
      ])
      .default({ from: "given" })
      .describe(
        "who makes and renews the certificate: given is by hand, as tlsBundle or, for our own nginx, as edge-tls of the vault",
      ),
    replicas: z.int().min(1).max(50).default(1).describe("pods of the edge"),
    resources: resources(50, 64),
    limits: z
      .strictObject({
        requestsPerSecond: z
          .int()
          .min(1)
          .max(100_000)
          .default(20)
          .describe(
            "requests per second per client address; here and below, addresses of one IPv6 /64 are one client",
          ),
        burst: z
          .int()
          .min(1)
          .max(100_000)
          .default(40)
          .describe("requests above the rate that are let through at once"),
        signInPerMinute: z
          .int()
          .min(1)
          .max(10_000)
          .default(5)
          .describe("sign-ins per minute per client address"),
        connectionsPerAddress: z
          .int()
          .min(1)
          .max(65_535)
          .default(50)
          .describe("requests under way at once per client address"),
      })
      .prefault({}),
    trustedProxies: z.array(cidr).default([]).describe("networks whose X-Forwarded-For is believed"),
  })
  .prefault({});
