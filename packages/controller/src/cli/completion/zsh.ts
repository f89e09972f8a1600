import { type Completed, type CompletedOption, flagsWithValues } from "./tree.js";

/** A completion function for zsh. */
export function zshCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const name = root?.path ?? "";
  return [
    `#compdef ${name}`,
    `# zsh completion for ${name}; written by: ${name} completion zsh`,
    `_${name}() {`,
    `  local here=${name} word skip=`,
    "  local -a subcommands flags",
    `  for word in "\${(@)words[2,CURRENT-1]}"; do`,
    "    if [[ -n $skip ]]; then skip=; continue; fi",
    "    case $word in",
    `      ${flagsWithValues(commands).join("|")}) skip=1; continue ;;`,
    "    esac",
    '    case "$here $word" in',
    `      ${commands
      .slice(1)
      .map(({ path }) => `"${path}"`)
      .join("|")}) here="$here $word" ;;`,
    "    esac",
    "  done",
    "  case $here in",
    ...commands.flatMap((command) => [
      `    "${command.path}")`,
      `      subcommands=(${command.commands.map(({ name: child, about }) => quote(`${child}:${about}`)).join(" ")})`,
      `      flags=(${command.options.map(spec).join(" ")})`,
      "      ;;",
    ]),
    "  esac",
    "  if (( $#subcommands )) && [[ $PREFIX != -* ]]; then",
    "    _describe -t commands command subcommands && return",
    "  fi",
    '  _arguments -S $flags "*:argument:_files"',
    "}",
    `_${name} "$@"`,
    "",
  ].join("\n");
}

/** As `_arguments` reads an option: --scope=[how far]:scope:(stage hop run) */
function spec({ flag, about, takes, choices }: CompletedOption): string {
  const text = `[${about.replace(/[[\]\\]/g, "\\$&").replaceAll(":", "\\:")}]`;
  if (takes === "nothing") return quote(`${flag}${text}`);
  const action = choices.length > 0 ? `(${choices.join(" ")})` : takes === "a file" ? "_files" : " ";
  return quote(`${flag}=${text}:${flag.slice(2)}:${action}`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
