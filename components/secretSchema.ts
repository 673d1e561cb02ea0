import { z } from "zod";

import { reservedVariables } from "./appSettings.ts";
import { keyFile } from "./keyFile.ts";
import { monitoringSecrets } from "./monitoring/schema.ts";

/** A variable that is the owner's to set. */
export const settable = z
  .string()
  .regex(/^[A-Z][A-Z0-9_]*$/, "must be the name of a variable, such as AI_URL")
  .refine((name) => !reservedVariables.some((reserved) => reserved === name), "is set by the stack itself");

const bundle = z
  .string()
  .regex(
    /-----BEGIN CERTIFICATE-----[\s\S]*-----BEGIN (EC |RSA )?PRIVATE KEY-----/,
    "must be PEM: certificate chain, then key",
  );

/** Keys that must be set with `--secret`: they are encrypted in the stack file and in the state. */
export const secretSchema = z.strictObject({
  tlsBundle: bundle.optional().describe("certificate and key of the edge"),
  internalCa: z
    .string()
    .regex(/-----BEGIN CERTIFICATE-----/, "must be the PEM of a certificate")
    .optional()
    .describe("authority of the certificates inside the cluster"),
  postgresTls: bundle.optional().describe("certificate and key of Postgres"),
  postgresCa: z
    .string()
    .regex(/-----BEGIN CERTIFICATE-----/, "must be the PEM of a certificate")
    .optional()
    .describe("authority of the certificate of Postgres, with postgres.kind: existing"),
  postgresAdminPassword: z.string().min(1).optional().describe("password of postgres.existing.admin"),
  redisTls: bundle.optional().describe("certificate and key of both Redis"),
  appTls: bundle.optional().describe("certificate and key of the app, for the edge"),
  azuriteTls: bundle
    .optional()
    .describe("certificate and key of Azurite, which keeps the backups of a stack without `azure`"),
  ageIdentity: z
    .string()
    .regex(/^AGE-SECRET-KEY-1[0-9A-Z]{58}$/, "must be an age identity (AGE-SECRET-KEY-1…)")
    .optional()
    .describe("private key that restore verification decrypts dumps with"),
  fieldKeys: keyFile
    .optional()
    .describe("keys that columns are encrypted with, of the stack whose data this one takes over"),
  appFiles: z
    .record(
      settable.regex(/_FILE$/, "must be a variable that names a file, such as AI_KEYS_FILE"),
      z.string().min(1),
    )
    .optional()
    .describe("contents of files of the app and its workers, by the variable that names each"),
  registryCredentials: z
    .string()
    .regex(/"auths"/, 'must be Docker\'s config.json ({"auths": …})')
    .optional()
    .describe("Docker's config.json, with which pods pull their images"),
  ...monitoringSecrets,
});
