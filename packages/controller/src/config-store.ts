import { join } from "node:path";
import { BelayError } from "@belay/shared";
import Type, { type Static } from "typebox";

const MIB = 1024 * 1024;
const Bytes = Type.Integer({ minimum: MIB, maximum: 100 * 1024 * 1024 * MIB });
const closed = { additionalProperties: false } as const;

/** `backupStore:` of belayd.yaml: where copies of backups lie. */
export const BackupStoreFile = Type.Union([
  Type.Object(
    {
      kind: Type.Literal("folder"),
      dir: Type.Optional(Type.String({ minLength: 1 })),
      maxBytes: Type.Optional(Bytes),
      minFreeBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    },
    closed,
  ),
  Type.Object(
    {
      kind: Type.Literal("s3"),
      endpoint: Type.String({ pattern: "^https?://[^/@?#]+/?$" }),
      region: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
      bucket: Type.String({ pattern: "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$" }),
      prefix: Type.Optional(Type.String({ pattern: "^([A-Za-z0-9._-]+/)*[A-Za-z0-9._-]*$", maxLength: 256 })),
      /** Secrets come from a file of their own, never from here. */
      credentialsFile: Type.String({ minLength: 1 }),
      pathStyle: Type.Optional(Type.Boolean()),
      maxBytes: Type.Optional(Bytes),
    },
    closed,
  ),
]);

export type BackupStoreConfig =
  | { readonly kind: "folder"; readonly dir: string; readonly maxBytes: number; readonly minFreeBytes: number }
  | {
      readonly kind: "s3";
      readonly endpoint: string;
      readonly region: string;
      readonly bucket: string;
      readonly prefix: string;
      readonly credentialsFile: string;
      readonly pathStyle: boolean;
      readonly maxBytes: number;
    };

/** A backend of a big cluster has a few GB; a body that does not end must not fill a disk. */
const MAX_COPY_BYTES = 64 * 1024 * MIB;
/** Left for belayd's own database, and for what else lives on that disk. */
const MIN_FREE_BYTES = 1024 * MIB;

/** Fills in what the file leaves out. `at` makes a path whole. Throws `config-invalid`. */
export function readBackupStore(
  file: Static<typeof BackupStoreFile> | undefined,
  dataDir: string,
  path: string,
  at: (name: string) => string,
): BackupStoreConfig {
  if (file === undefined || file.kind === "folder") {
    return {
      kind: "folder",
      dir: file?.dir === undefined ? join(dataDir, "backups") : at(file.dir),
      maxBytes: file?.maxBytes ?? MAX_COPY_BYTES,
      minFreeBytes: file?.minFreeBytes ?? MIN_FREE_BYTES,
    };
  }
  refuseClearText(file.endpoint, path);
  const { prefix = "" } = file;
  return {
    kind: "s3",
    endpoint: file.endpoint.replace(/\/$/, ""),
    region: file.region ?? "us-east-1",
    bucket: file.bucket,
    prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`,
    credentialsFile: at(file.credentialsFile),
    pathStyle: file.pathStyle ?? false,
    maxBytes: file.maxBytes ?? MAX_COPY_BYTES,
  };
}

/** A backup holds the cluster's keys: on a network it travels over TLS or not at all. */
function refuseClearText(endpoint: string, path: string): void {
  const { protocol, hostname } = new URL(endpoint);
  if (protocol === "https:" || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)) return;
  throw new BelayError("config-invalid", `${path}: backupStore.endpoint: ${endpoint} is not https`, {
    hint: "Plain http is for a storage on this very machine.",
  });
}
