import { createHash } from 'node:crypto';
import { applyDecorators, Header } from '@nestjs/common';

const STYLE = `
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;
  color:light-dark(#222,#ddd);background:light-dark(#fff,#181818)}
h1{line-height:1.2}
h2{font-size:1.1rem;margin:2rem 0 0}
p,ul{margin:.25rem 0}
li{margin:.5rem 0}
a{color:light-dark(#0550ae,#79b8ff)}
code{overflow-wrap:anywhere}
pre{padding:.75rem;border-radius:.25rem;white-space:pre-wrap;background:light-dark(#f3f3f3,#262626)}
:target{background:light-dark(#fff3bf,#4a3f00);outline:.5rem solid light-dark(#fff3bf,#4a3f00)}
`;

/** The pages have one style, and need no script, image or other resource. */
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The HTML of a page. `body` is trusted, so it must not contain input. */
export const pageOf = (title: string, body: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><style>${STYLE}</style>
<h1>${title}</h1>
${body}</html>`;

/** Marks a handler that returns the HTML of {@link pageOf}. */
export const StaticPage = () =>
  applyDecorators(
    Header('content-type', 'text/html; charset=utf-8'),
    Header('content-security-policy', POLICY),
    Header('x-content-type-options', 'nosniff'),
  );
