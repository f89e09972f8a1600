import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fill } from "../deb.js";
import { run } from "../run.js";
import { type Edition, ROOT } from "../source.js";
import type { Tree } from "../tree.js";
import { manualPage } from "./roff.js";

type PackageName = "belay" | "belay-agent";

interface Page {
  name: string;
  section: 1 | 5 | 8;
  about: string;
  seeAlso: readonly string[];
  /** The Markdown of everything between NAME and SEE ALSO. */
  body: () => Promise<string>;
}

/** Each is made of what the repository's own documents and programs say, so that they can't drift apart. */
const PAGES: Readonly<Record<PackageName, readonly Page[]>> = {
  belay: [
    {
      name: "belay",
      section: 1,
      about: "upgrade a fleet one safe step at a time",
      seeAlso: ["belayd(8)", "fleet.yaml(5)"],
      body: () => document("docs/cli.md"),
    },
    {
      name: "belayd",
      section: 8,
      about: "the controller of Belay",
      seeAlso: ["belay(1)", "belayd.yaml(5)", "fleet.yaml(5)", "belay-agent(8)"],
      body: () => written("packaging/belay/belayd.md", "packages/controller/bin/belayd.js"),
    },
    {
      name: "belay-audit-verify",
      section: 1,
      about: "say whether a copy of belayd's audit log is whole",
      seeAlso: ["belay(1)", "belayd(8)", "belay-agent(8)"],
      body: () => written("packaging/belay/belay-audit-verify.md", "packages/controller/bin/belay-audit-verify.js"),
    },
    {
      name: "belayd.yaml",
      section: 5,
      about: "configuration of belayd",
      seeAlso: ["belayd(8)", "fleet.yaml(5)"],
      body: () => sectionOf("docs/configuration.md", "belayd.yaml"),
    },
    {
      name: "fleet.yaml",
      section: 5,
      about: "the fleet that belayd looks after",
      seeAlso: ["belay(1)", "belayd.yaml(5)"],
      body: () => document("docs/fleet.md"),
    },
  ],
  "belay-agent": [
    {
      name: "belay-agent",
      section: 8,
      about: "the agent of Belay on a host",
      seeAlso: ["agent.yaml(5)", "belay(1)", "systemd.unit(5)"],
      body: () => written("packaging/belay-agent/belay-agent.md", "packages/agent/bin/belay-agent.js"),
    },
    {
      name: "agent.yaml",
      section: 5,
      about: "what Belay may do on a host",
      seeAlso: ["belay-agent(8)"],
      body: () => sectionOf("docs/configuration.md", "agent.yaml"),
    },
  ],
};

/** Writes a package's manual pages into its tree. */
export async function addManual(tree: Tree, of: PackageName, edition: Edition): Promise<void> {
  const date = new Date(edition.epochSeconds * 1000).toISOString().slice(0, 10);
  for (const page of PAGES[of]) {
    const markdown = [
      `## Name\n\n${page.name} - ${page.about}`,
      await page.body(),
      `## See also\n\n${page.seeAlso.join(", ")}`,
    ].join("\n\n");
    const { name, section } = page;
    const text = manualPage(markdown, { name, section, date, source: `Belay ${edition.version}` });
    await tree.gzip(`usr/share/man/man${section}/${name}.${section}`, text);
  }
}

/** A whole document; what stands before its first heading becomes the description. */
async function document(path: string): Promise<string> {
  return (await readFile(join(ROOT, path), "utf8")).replace(/^# .*$/m, "## Description");
}

/** One `##` section of a document, with its own sections a level higher. */
async function sectionOf(path: string, title: string): Promise<string> {
  const text = await readFile(join(ROOT, path), "utf8");
  const found = new RegExp(`^## ${title.replace(".", "\\.")}\\n(.*?)(?=^## |$(?![\\s\\S]))`, "ms").exec(text)?.[1];
  if (found === undefined) throw new Error(`${path} has no section ${title}`);
  return `## Description\n${found.replace(/^### /gm, "## ")}`;
}

/** A page of its own, into which the program's help goes as it is. */
async function written(path: string, program: string): Promise<string> {
  const help = run(process.execPath, [join(ROOT, program), "--help"]).trimEnd();
  return fill(await readFile(join(ROOT, path), "utf8"), { HELP: help });
}
