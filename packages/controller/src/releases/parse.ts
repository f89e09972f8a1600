import { parseVersion } from "@belay/shared";
import { stringify } from "yaml";
import { Declaration, type Field } from "../inventory/document.js";
import type { Artifact, Catalogue, Release } from "./catalogue.js";

/** Reads releases.yaml. Throws `releases-invalid` with every problem (`context.problems`). */
export function parseCatalogue(text: string, file: string): Catalogue {
  const declaration = new Declaration(text, file, "releases-invalid");
  const { root } = declaration;
  if (!root.present) root.note("the file is empty", { hint: "A catalogue without releases is `releases: []`." });
  const seen = new Set<string>();
  const releases = root
    .members(["releases"])
    .releases.items()
    .map((field) => readRelease(field, seen));
  declaration.end();
  return { releases };
}

/** The same catalogue as YAML; what `parseCatalogue` reads back is equal. */
export function serializeCatalogue(catalogue: Catalogue): string {
  return stringify(catalogue, { lineWidth: 0 });
}

function readRelease(field: Field, seen: Set<string>): Release {
  const members = field.members(["version", "blocked", "suspect", "artifacts"]);
  const version = readVersion(members.version);
  if (seen.has(version)) members.version.note(`release ${version} is listed already`);
  seen.add(version);
  const [blocked, suspect] = [members.blocked.text(), members.suspect.text()];
  return {
    version,
    ...(blocked === undefined ? {} : { blocked }),
    ...(suspect === undefined ? {} : { suspect }),
    artifacts: members.artifacts.items().map(readArtifact),
  };
}

function readVersion(field: Field): string {
  const text = field.required() ?? "";
  return parseVersion(text) ?? (field.note(`"${text}" is no version such as 6.2.31`) || text);
}

function readArtifact(field: Field): Artifact {
  const members = field.members(["os", "arch", "edition", "fips", "file", "size", "sha256"]);
  const sha256 = members.sha256.required() ?? "";
  if (!/^[0-9a-f]{64}$/.test(sha256)) members.sha256.note("must be a SHA-256: 64 hexadecimal digits in lower case");
  if (!members.size.present) members.size.note("is missing");
  return {
    os: members.os.text() ?? "linux",
    arch: members.arch.text() ?? "amd64",
    edition: members.edition.choice(["oss", "ent", "community"]) ?? "oss",
    fips: members.fips.flag() ?? false,
    file: members.file.required() ?? "",
    size: members.size.count(1, Number.MAX_SAFE_INTEGER) ?? 0,
    sha256,
  };
}
