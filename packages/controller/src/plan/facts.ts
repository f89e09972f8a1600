import { BelayError, decoder, Sha256 } from "@belay/shared";
import Type from "typebox";
import type { FleetFacts } from "./input.js";

const closed = { additionalProperties: false } as const;
const VersionText = Type.Union([Type.String({ maxLength: 256 }), Type.Null()]);

const FactsFile = Type.Object(
  {
    hosts: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            version: Type.Optional(VersionText),
            reachable: Type.Optional(Type.Boolean()),
            os: Type.Optional(Type.String()),
            arch: Type.Optional(Type.String()),
            edition: Type.Optional(Type.String()),
            fips: Type.Optional(Type.Boolean()),
            definition: Type.Optional(Sha256),
          },
          closed,
        ),
      ),
    ),
    managed: Type.Optional(
      Type.Record(Type.String(), Type.Object({ server_version: Type.Optional(VersionText) }, closed)),
    ),
  },
  closed,
);

const decode = decoder(FactsFile, "facts", "facts-invalid");

/** Reads facts.json. What a host doesn't say is reachable, linux, amd64, oss, no FIPS. Throws `facts-invalid`. */
export function parseFacts(text: string, file: string): FleetFacts {
  const { hosts = {}, managed = {} } = decodeFile(text, file);
  return {
    hosts: mapValues(hosts, (host) => ({
      version: host.version ?? null,
      reachable: host.reachable ?? true,
      os: host.os ?? "linux",
      arch: host.arch ?? "amd64",
      edition: host.edition ?? "oss",
      fips: host.fips ?? false,
      ...(host.definition === undefined ? {} : { definition: host.definition }),
    })),
    managed: mapValues(managed, (cluster) => ({ server_version: cluster.server_version ?? null })),
  };
}

function decodeFile(text: string, file: string): Type.Static<typeof FactsFile> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new BelayError("facts-invalid", `${file}: not JSON: ${(cause as Error).message}`, {
      hint: 'Expected {"hosts": {"NAME": {"version": "5.4.2"}}, "managed": {}}.',
      cause,
    });
  }
  try {
    return decode(json);
  } catch (error) {
    if (!(error instanceof BelayError)) throw error;
    throw new BelayError("facts-invalid", `${file}: ${error.message}`, {
      hint: "A host has version, reachable, os, arch, edition, fips, definition; a managed cluster has server_version.",
      context: { ...error.context, file },
    });
  }
}

function mapValues<T, R>(record: Record<string, T>, to: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value)]));
}
