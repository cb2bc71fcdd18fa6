import { Controller, Get } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from './public.decorator.js';
import { PROBLEMS } from './problem.js';
import { pageOf, StaticPage } from './static-page.js';

const toHtml = (text: string) =>
  text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/`(.*?)`/g, '<code>$1</code>');

const ENTRIES = Object.entries(PROBLEMS).map(
  ([code, { status, title, advice }]) =>
    `<section id="${code}"><h2>${status} <code>${code}</code></h2><p><strong>${title}.</strong> ${toHtml(advice)}</p></section>`,
);

const PAGE = pageOf(
  'Errors',
  `<p>Every error is an RFC 9457 problem. <code>outcome</code> says what the attempt has done: <code>not_started</code>,
<code>unknown</code> (the attempt may take effect, and the service will finish it) or <code>final</code> (a retry gets the same answer). <a href="/docs">API documentation</a></p>
${ENTRIES.join('\n')}`,
);

/** The page that the `type` of every problem links to. */
@ApiExcludeController()
@Public()
@Controller('docs/errors')
export class ErrorsController {
  @Get()
  @StaticPage()
  page(): string {
    return PAGE;
  }
}
