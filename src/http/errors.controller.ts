import { Controller, Get, Header } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from './public.decorator.js';
import { PROBLEMS } from './problem.js';

const toHtml = (text: string) =>
  text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/`(.*?)`/g, '<code>$1</code>');

const ENTRIES = Object.entries(PROBLEMS).map(
  ([code, { status, title, advice }]) =>
    `<section id="${code}"><h2>${status} <code>${code}</code></h2><p><strong>${title}.</strong> ${toHtml(advice)}</p></section>`,
);

const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Errors</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.25rem 0}:target{background:#fff3bf;outline:.5rem solid #fff3bf}</style>
<h1>Errors</h1><p>Every error is an RFC 9457 problem. <code>outcome</code> says what the attempt has done: <code>not_started</code>,
<code>unknown</code> (the attempt may take effect, and the service will finish it) or <code>final</code> (a retry gets the same answer). <a href="/docs">API documentation</a></p>
${ENTRIES.join('\n')}</html>`;

/** The page that the `type` of every problem links to. */
@ApiExcludeController()
@Public()
@Controller('docs/errors')
export class ErrorsController {
  @Get()
  @Header('content-type', 'text/html; charset=utf-8')
  page(): string {
    return PAGE;
  }
}
