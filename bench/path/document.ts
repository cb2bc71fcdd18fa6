import type { Visit } from './instrument.js';

/** The calls of one request, in order. */
export interface Path {
  request: string;
  committer: string;
  visits: readonly Visit[];
}

/**
 * HTTP plumbing: code that only turns bytes into a checked request and a reply into bytes. A reader who knows HTTP frameworks may skip it.
 * Controllers belong to it, because they contain routes and OpenAPI only.
 */
const PLUMBING = /^src\/(http|accounts|operations|idempotency\/http)\/|\/dto\/|\.controller\.ts$/;

/** Consecutive calls within one file. */
interface Stop {
  file: string;
  names: string[];
}

function stopsOf(visits: readonly Visit[]): Stop[] {
  const stops: Stop[] = [];
  for (const { file, name } of visits) {
    const last = stops.at(-1);
    if (last?.file !== file) stops.push({ file, names: [name] });
    else if (!last.names.includes(name)) last.names.push(name);
  }
  return stops;
}

const count = (visits: readonly Visit[]) => ({
  files: new Set(visits.map(({ file }) => file)).size,
  functions: new Set(visits.map(({ file, name }) => `${file} ${name}`)).size,
});

/** The whole document. It is generated, so that it cannot differ from the code. */
export function documentOf(paths: readonly Path[]): string {
  const rows = paths.map(({ request, committer, visits }) => {
    const all = count(visits);
    const core = count(visits.filter(({ file }) => !PLUMBING.test(file)));
    return `| ${request} | \`${committer}\` | ${core.files} | ${core.functions} | ${all.files} | ${all.functions} |`;
  });
  const sections = paths.map(({ request, committer, visits }) => {
    const stops = stopsOf(visits).map(({ file, names }) => {
      const link = `[\`${file.replace('src/', '')}\`](../${file})`;
      const text = `${link} ${names.map((name) => `\`${name}\``).join(', ')}`;
      return `1. ${PLUMBING.test(file) ? `_${text}_` : text}`;
    });
    return `## ${request[0]?.toUpperCase()}${request.slice(1)}, with \`${committer}\`\n\n${stops.join('\n')}\n`;
  });
  return `# The path of a charge

\`npm run path\` writes this document. It notes every call of a named function while the service answers one \`POST /charges\`, without the
reply cache and without background work. An async function that continues after an \`await\` is not noted again.

HTTP plumbing is written in italics: the folders \`http/\`, \`accounts/\`, \`operations/\`, \`idempotency/http/\` and \`dto/\`, and the controllers. The first
two columns of numbers leave this plumbing out, and the last two columns include it.

| request | committer | files | functions | files, all | functions, all |
| --- | --- | ---: | ---: | ---: | ---: |
${rows.join('\n')}

${sections.join('\n')}`;
}
