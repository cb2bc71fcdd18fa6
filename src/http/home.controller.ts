import { Controller, Get } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { Public } from './public.decorator.js';
import { pageOf, StaticPage } from './static-page.js';

const PAGE = pageOf(
  'Payments that are safe to send twice',
  `<p>This is a payment service. However often a request is sent, it takes effect once, and every attempt gets the same answer.</p>
<h2>Try it</h2>
<pre><code>curl -i localhost:3000/charges -H 'Content-Type: application/json' -H 'Idempotency-Key: order_12345' -d '{"amount": 1999, "currency": "eur"}'</code></pre>
<p>Send the request twice. The second answer has the header <code>Idempotent-Replayed: true</code> and the same body bytes, and there is one charge.
Replace <code>localhost:3000</code> with the address of this page. If the service has API keys, add <code>-H 'Authorization: Bearer …'</code> with your key.</p>
<h2>Where to go</h2>
<ul>
<li><a href="/docs">/docs</a> documents every request, and can send requests.</li>
<li><a href="/docs/errors">/docs/errors</a> explains every error, and says whether to send the request again.</li>
<li><a href="/openapi.json">/openapi.json</a> is the same documentation as an OpenAPI document, for programs.</li>
<li><a href="/health/ready">/health/ready</a> says whether this replica can serve requests.</li>
<li><a href="/metrics">/metrics</a> has the metrics of this replica in the format of Prometheus.</li>
</ul>`,
);

/** The page that a person sees who opens the address of the service. */
@ApiExcludeController()
@Public()
@Controller()
export class HomeController {
  @Get()
  @StaticPage()
  page(): string {
    return PAGE;
  }
}
