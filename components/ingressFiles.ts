import { isIPv4, isIPv6 } from "node:net";

import * as pulumi from "@pulumi/pulumi";

import { manifestFiles } from "./manifests.ts";
import type { Share } from "./types.ts";

/** What one client address, of IPv6 one /64, may do at each pod of the edge before it gets 429. */
export interface EdgeLimits {
  /** Requests per second. */
  readonly requestsPerSecond: number;
  /** Requests above that rate that are let through at once. */
  readonly burst: number;
  /** Attempts to sign in per minute. */
  readonly signInPerMinute: number;
  /** Requests under way at the same time; a stream counts for as long as it lasts. */
  readonly connectionsPerAddress: number;
}

/** Where requests go: by API version, and `app` for `/ready` and `/api/health`; percentages of each add up to 100. */
export interface Upstreams {
  readonly apiV1: readonly Share[];
  readonly apiV2: readonly Share[];
  readonly app: readonly Share[];
}

export interface EdgeSettings {
  /** Host names or IPv4 addresses that are served. */
  readonly hosts: readonly string[];
  /** Port that clients use for https; redirects lead there. */
  readonly publicPort: number;
  /** PEM file with the certificate chain and the key. */
  readonly certificateFile: string;
  readonly limits: EdgeLimits;
  /** Networks (CIDR) whose X-Forwarded-For names the client. */
  readonly trustedProxies: readonly string[];
  readonly upstreams: Upstreams;
  /** By which name, and against which authority (a PEM file), the upstreams are checked; absent: they are plain HTTP. */
  readonly upstreamTls?: { readonly name: pulumi.Input<string>; readonly caFile: string } | undefined;
}

/**
 * Everything that nginx reads: the files of `k8s-manifests/nginx` and the six that differ between stacks.
 * @throws {Error} naming the value, when one could mean something else to nginx than what it is meant to be.
 */
export function edgeFiles(settings: EdgeSettings): pulumi.Output<Record<string, string>> {
  const rendered = {
    "site.conf": siteConf(settings),
    "server-name.conf": serverNameConf(settings.hosts),
    "limits.conf": limitsConf(settings.limits),
    "realip.conf": realIpConf(settings.trustedProxies),
  };
  const { apiV1, apiV2, app } = settings.upstreams;
  return pulumi
    .all([pulumi.all([...apiV1]), pulumi.all([...apiV2]), pulumi.all([...app]), settings.upstreamTls])
    .apply(([v1, v2, rest, tls]): Record<string, string> => ({
      ...manifestFiles("nginx"),
      ...rendered,
      "upstream-tls.conf": upstreamTlsConf(tls),
      "upstreams.conf": [
        ...upstreamConf("api_v1", v1),
        ...upstreamConf("api_v2", v2),
        ...upstreamConf("app", rest),
      ].join("\n"),
    }));
}

/** Certificate, and the port that a redirect to https names. */
export function siteConf({
  certificateFile: file,
  publicPort,
}: Pick<EdgeSettings, "certificateFile" | "publicPort">): string {
  const certificateFile = checkedPath("certificate file", file);
  const port = checkedPort("public https port", publicPort);
  return [
    `ssl_certificate ${certificateFile};`,
    `ssl_certificate_key ${certificateFile};`,
    `map "" $https_port {`,
    `    default "${port === 443 ? "" : `:${port}`}";`,
    "}",
    "",
  ].join("\n");
}

/** The names that are served. */
export function serverNameConf(hosts: readonly string[]): string {
  if (hosts.length === 0) throw new Error("edge: no host name is given; at least one is needed");
  return `server_name ${hosts.map((host) => checkedHost("host", host)).join(" ")};\n`;
}

/** Rate and connection limits by client address. */
export function limitsConf(limits: EdgeLimits): string {
  const rate = checkedCount("requestsPerSecond", limits.requestsPerSecond, 1);
  const burst = checkedCount("burst", limits.burst, 0);
  const signIns = checkedCount("signInPerMinute", limits.signInPerMinute, 1);
  const connections = checkedCount("connectionsPerAddress", limits.connectionsPerAddress, 1);
  return [
    `limit_req_zone $client_network zone=requests:10m rate=${rate}r/s;`,
    `limit_req_zone $sign_in_address zone=sign_in:10m rate=${signIns}r/m;`,
    `limit_conn_zone $client_network zone=connections:10m;`,
    `limit_req zone=requests${burstOption(burst)};`,
    // nginx spaces a rate evenly; someone who mistypes a password may still try again at once.
    `limit_req zone=sign_in${burstOption(signIns - 1)};`,
    `limit_conn connections ${connections};`,
    "map $sign_in_address $limit_retry_after {",
    `    default ${Math.ceil(60 / signIns)};`,
    `    "" 1;`,
    "}",
    "",
  ].join("\n");
}

/** Whose word about the client's address is taken. */
export function realIpConf(trustedProxies: readonly string[]): string {
  if (trustedProxies.length === 0) return "# No proxy is trusted: the client is who connects.\n";
  return [
    ...trustedProxies.map((cidr) => `set_real_ip_from ${checkedCidr(cidr)};`),
    "real_ip_header X-Forwarded-For;",
    "real_ip_recursive on;",
    "",
  ].join("\n");
}

/** One upstream for each share, and a variable by the group's name that says which is this user's. */
export function upstreamConf(group: string, shares: readonly pulumi.Unwrap<Share>[]): string[] {
  const total = shares.reduce((sum, { percent }) => sum + percent, 0);
  if (total !== 100) throw mistake(`upstream ${group}'s sum of percentages`, total, "100");
  const rest = shares.length - 1;
  return [
    ...shares.map(({ host, port }, index) => serversConf(`${group}_${index}`, host, port)),
    `split_clients $user $${group} {`,
    ...shares.map(({ percent }, index) => `    ${index === rest ? "*" : `${percent}%`} ${group}_${index};`),
    "}",
    "",
  ];
}

/** Whether upstreams are spoken to by TLS, and what they must prove. */
export function upstreamTlsConf(tls?: { readonly name: string; readonly caFile: string }): string {
  const scheme = [`map "" $upstream_scheme {`, `    default ${tls ? "https" : "http"};`, "}", ""];
  if (!tls) return scheme.join("\n");
  const name = checkedHost("upstream's certificate", tls.name);
  return [
    ...scheme.slice(0, -1),
    `proxy_ssl_trusted_certificate ${checkedPath("upstream's authority", tls.caFile)};`,
    "proxy_ssl_verify on;",
    "proxy_ssl_verify_depth 2;",
    `proxy_ssl_name ${name};`,
    "proxy_ssl_server_name on;",
    "proxy_ssl_protocols TLSv1.3;",
    "",
  ].join("\n");
}

function serversConf(upstream: string, host: string, port: number): string {
  const server = `    server ${checkedHost(`upstream ${upstream}`, host)}:${checkedPort(`upstream ${upstream}`, port)} max_fails=0;`;
  return [
    `upstream ${upstream} {`,
    "    # Twice, so that what failed at one pod gets a second attempt: the Service's address leads to another.",
    server,
    server,
    "    keepalive 32;",
    "    # Below the app's own keep-alive, so that nginx never writes to a connection that is being closed.",
    "    keepalive_timeout 30s;",
    "    # A connection stays with one pod, whomever the Service selects by now: its end is when a rollback arrives.",
    "    keepalive_time 5s;",
    "}",
    "",
  ].join("\n");
}

function burstOption(burst: number): string {
  return burst === 0 ? "" : ` burst=${burst} nodelay`;
}

function checkedPath(what: string, path: string): string {
  if (!/^\/[\w./-]+$/.test(path)) throw mistake(what, path, "an absolute path");
  return path;
}

function checkedHost(what: string, host: string): string {
  const label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
  if (host.length > 253 || !new RegExp(`^${label}(?:\\.${label})*$`, "i").test(host)) {
    throw mistake(what, host, "a host name such as api.example.com, or an IPv4 address");
  }
  return host;
}

function checkedCidr(cidr: string): string {
  const [address = "", prefix = "", ...rest] = cidr.split("/");
  // isIPv6 also takes a zone, as in fe80::1%eth0, which has no place in a network.
  const isV6 = isIPv6(address) && !address.includes("%");
  const isV4 = isIPv4(address);
  const longest = isV4 ? 32 : 128;
  if (rest.length > 0 || !(isV4 || isV6) || !/^\d{1,3}$/.test(prefix) || Number(prefix) > longest) {
    throw mistake("trusted proxy", cidr, "a network such as 10.0.0.0/8 or fd00::/8");
  }
  return cidr;
}

function checkedCount(what: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least || value > 100_000) {
    throw mistake(`limits.${what}`, value, `a whole number from ${least} to 100000`);
  }
  return value;
}

function checkedPort(what: string, port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw mistake(what, port, "a port from 1 to 65535");
  return port;
}

function mistake(what: string, found: string | number, allowed: string): Error {
  return new Error(`edge: ${what} is ${JSON.stringify(found)}; it must be ${allowed}`);
}
