/** One sample of Prometheus' text format. */
export interface Sample {
  labels: Map<string, string>;
  value: number;
}

/** Every sample of one metric. Lines that are something else, or malformed, are passed over. */
export function samplesOf(text: string, metric: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith(metric)) continue;
    const rest = line.slice(metric.length);
    const match = /^(?:\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\})?[ \t]+(\S+)/.exec(rest);
    if (match === null) continue;
    samples.push({ labels: labelsOf(match[1] ?? ""), value: numberOf(match[2] as string) });
  }
  return samples;
}

function labelsOf(text: string): Map<string, string> {
  const labels = new Map<string, string>();
  for (const [, name, value] of text.matchAll(/([A-Za-z_][A-Za-z0-9_]*)="((?:\\.|[^"\\])*)"/g)) {
    const plain = (value as string).replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    labels.set(name as string, plain);
  }
  return labels;
}

function numberOf(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}
