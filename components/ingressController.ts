import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { certificatesOf, privateKeyOf } from "./certificates.ts";
import type { CertificateSource } from "./edgeCertificate.ts";
import type { EdgeLimits } from "./ingressFiles.ts";
import type { ProbedEdge } from "./monitoring/blackbox.ts";
import { labels, serviceOf } from "./podDefaults.ts";
import type { StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint } from "./types.ts";

/** What the cluster's own F5 NGINX Ingress Controller needs to be told. */
export interface ControllerSettings {
  /** IngressClass that the controller serves. */
  readonly ingressClass: string;
  /** Secret (kubernetes.io/tls) of the certificate, beside the app; made here where the stack is given one. */
  readonly tlsSecretName: string;
}

export interface ControllerIngressArgs {
  readonly controller: ControllerSettings;
  /** Host names that are served. */
  readonly hosts: readonly string[];
  /** Services of one namespace: by API version, and `app` for the rest. */
  readonly upstreams: { readonly apiV1: Endpoint; readonly apiV2: Endpoint; readonly app: Endpoint };
  /** Whether they speak TLS. A controller that is told by annotations checks no certificate of theirs. */
  readonly encrypted: boolean;
  /** What one client address may do at each of the controller's pods. */
  readonly limits: EdgeLimits;
  /** Who makes the certificate; default: given, as `tlsBundle` or as the Secret itself. */
  readonly certificate?: CertificateSource;
  /** Certificate chain, then private key; without a value, the Secret is made by cert-manager or a person. */
  readonly tlsBundle: StoredSecret;
}

type Annotations = Record<string, pulumi.Input<string>>;
type Path = k8s.types.input.networking.v1.HTTPIngressPath;

const nginx = (settings: Annotations): Annotations =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`nginx.org/${name}`, value]));

/** Seconds that a browser goes on asking by https only; as security-headers.conf. */
const hstsSeconds = 63_072_000;
const signInPaths = ["login", "sign-in", "token", "session"].flatMap((action) =>
  ["v1", "v2"].map((version) => `/api/${version}/auth/${action}`),
);

/**
 * The same door for a cluster that has an F5 NGINX Ingress Controller: Ingress objects in place of an nginx of our own. One
 * master for each host has name and certificate; its minions have the paths, each with what is different about them.
 */
export class ControllerIngress extends pulumi.ComponentResource {
  /** Base URL, by the first host. */
  readonly url: string;
  /** How our own client asks: as all do, by the public name. */
  readonly probed: ProbedEdge;

  constructor(resourceName: string, args: ControllerIngressArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:edge:ControllerIngress", resourceName, {}, opts);
    const { hosts, tlsBundle, controller } = args;
    const child = { parent: this };
    const app = serviceOf(args.upstreams.app.host);
    const secret =
      tlsBundle.value && this.tlsSecret(tlsBundle.value, app.namespace, controller.tlsSecretName);

    for (const host of hosts) {
      const ingress = (
        part: string,
        annotations: Annotations,
        rest: Partial<k8s.types.input.networking.v1.IngressSpec>,
        paths?: Path[],
      ) => {
        const name = `edge-${host.replaceAll(".", "-")}-${part}`;
        new k8s.networking.v1.Ingress(
          name,
          {
            metadata: {
              name,
              namespace: app.namespace,
              labels: labels("edge", "edge"),
              // Only a controller that runs with -report-ingress-status names the address that Pulumi would wait for.
              annotations: { "pulumi.com/skipAwait": "true", ...annotations },
            },
            spec: {
              ingressClassName: controller.ingressClass,
              ...rest,
              rules: [{ host, ...(paths && { http: { paths } }) }],
            },
          },
          { ...child, ...(secret && { dependsOn: [secret] }) },
        );
      };
      ingress("master", masterAnnotations(args), {
        tls: [{ hosts: [host], secretName: tlsSecretName(args, host) }],
      });
      for (const { part, annotations, paths } of minions(args)) {
        ingress(part, nginx({ "mergeable-ingress-type": "minion", ...annotations }), {}, paths);
      }
    }
    const [first = ""] = hosts;
    this.url = `https://${first}`;
    this.probed = {
      endpoint: { host: first, port: 443 },
      host: first,
      ...(tlsBundle.value && { caPem: pulumi.unsecret(tlsBundle.value.apply(certificatesOf)) }),
    };
    this.registerOutputs({ url: this.url });
  }

  private tlsSecret(
    bundle: pulumi.Output<string>,
    namespace: pulumi.Output<string>,
    name: string,
  ): k8s.core.v1.Secret {
    const stringData = {
      "tls.crt": bundle.apply(certificatesOf),
      "tls.key": bundle.apply(privateKeyOf),
    };
    return new k8s.core.v1.Secret(
      name,
      {
        type: "kubernetes.io/tls",
        metadata: { name, namespace, labels: labels("edge", "secrets") },
        stringData,
      },
      { parent: this },
    );
  }
}

/**
 * cert-manager makes one Certificate for each Secret, which is the first Ingress' that names it, and refuses all others. A
 * certificate that is given bears every name.
 */
function tlsSecretName({ controller, hosts, certificate }: ControllerIngressArgs, host: string): string {
  const own = certificate?.from === "certManager" && host !== hosts[0];
  return own ? `${controller.tlsSecretName}-${host}` : controller.tlsSecretName;
}

/** What holds for a whole host. */
function masterAnnotations({ certificate }: ControllerIngressArgs): Annotations {
  return {
    ...nginx({
      "mergeable-ingress-type": "master",
      "redirect-to-https": "True",
      "server-tokens": "False",
      hsts: "True",
      "hsts-max-age": String(hstsSeconds),
    }),
    ...(certificate?.from === "certManager" && {
      [`cert-manager.io/${certificate.issuer.kind === "Issuer" ? "issuer" : "cluster-issuer"}`]:
        certificate.issuer.name,
    }),
  };
}

/** The paths, in groups that are treated alike; whatever is in none of them, /metrics among it, is answered with 404. */
function minions({ upstreams, encrypted, limits }: ControllerIngressArgs) {
  const { apiV1, apiV2, app } = upstreams;
  const limited = limit(`${limits.requestsPerSecond}r/s`, limits.burst);
  // The controller refuses an Ingress that names a Service to which none of its own paths leads.
  const tls = (...endpoints: Endpoint[]): Annotations => {
    const names = pulumi.all(endpoints.map(({ host }) => serviceOf(host).name));
    return encrypted ? { "ssl-services": names.apply((all) => [...new Set(all)].join(",")) } : {};
  };
  const common = { "client-max-body-size": "1m", "proxy-connect-timeout": "2s" };
  const streaming = { "proxy-buffering": "False", "proxy-read-timeout": "15m", "proxy-send-timeout": "15m" };
  return [
    {
      part: "api",
      // As long as nginx.conf has for speech and pictures.
      annotations: { ...tls(apiV1, apiV2, app), ...common, ...limited, "proxy-read-timeout": "75s" },
      paths: [
        path("/ready", "Exact", app),
        path("/api/docs", "Exact", app),
        path("/api/openapi.json", "Exact", app),
        path("/api/v1", "Prefix", apiV1),
        path("/api/v2", "Prefix", apiV2),
      ],
    },
    {
      part: "health",
      annotations: {
        ...tls(app),
        ...limited,
        rewrites: pulumi.interpolate`serviceName=${serviceOf(app.host).name} rewrite=/health`,
      },
      paths: [path("/api/health", "Exact", app)],
    },
    {
      part: "sign-in",
      // A rate is spaced evenly; someone who mistypes a password may still try again at once.
      annotations: {
        ...tls(apiV1, apiV2),
        ...common,
        ...limit(`${limits.signInPerMinute}r/m`, limits.signInPerMinute - 1),
      },
      paths: signInPaths.map((one) => path(one, "Exact", one.startsWith("/api/v1") ? apiV1 : apiV2)),
    },
    {
      part: "chat",
      annotations: {
        ...tls(apiV2),
        ...common,
        ...limited,
        ...streaming,
        "websocket-services": serviceOf(apiV2.host).name,
      },
      paths: [path("/api/v2/chat", "Prefix", apiV2)],
    },
  ];
}

function limit(rate: string, burst: number): Annotations {
  return {
    "limit-req-rate": rate,
    "limit-req-key": "${binary_remote_addr}",
    "limit-req-zone-size": "10m",
    ...(burst > 0 && { "limit-req-burst": String(burst), "limit-req-no-delay": "true" }),
    "limit-req-reject-code": "429",
  };
}

function path(at: string, pathType: "Exact" | "Prefix", { host, port }: Endpoint): Path {
  return { path: at, pathType, backend: { service: { name: serviceOf(host).name, port: { number: port } } } };
}
