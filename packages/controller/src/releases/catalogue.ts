import type { Sha256 } from "@belay/shared";

/** releases.yaml, parsed and checked. */
export interface Catalogue {
  readonly releases: readonly Release[];
}

export interface Release {
  readonly version: string;
  /** Why nobody may run it (I11). */
  readonly blocked?: string;
  /** Set by Belay when a fleet was rolled back from it; a person clears it. */
  readonly suspect?: string;
  readonly artifacts: readonly Artifact[];
}

export interface Artifact {
  readonly os: string;
  readonly arch: string;
  readonly edition: "oss" | "ent" | "community";
  readonly fips: boolean;
  readonly file: string;
  /** Bytes, packed. */
  readonly size: number;
  readonly sha256: Sha256;
}
