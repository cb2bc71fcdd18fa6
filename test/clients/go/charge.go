package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Reads the whole reply, so that a reply that breaks off is retried as well.
func isRetryable(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return true, nil
	}
	text, err := io.ReadAll(response.Body)
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(text))
	reply := struct{ Retryable bool }{response.StatusCode >= 400}
	return err != nil || json.Unmarshal(text, &reply) != nil || reply.Retryable, nil
}

func pause(_, _ time.Duration, _ int, response *http.Response) time.Duration {
	if response != nil {
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return time.Second
}

// Charge sends a charge until the service gives a final answer.
func Charge(url, key string, body []byte, timeout time.Duration) ([]byte, error) {
	client := retryablehttp.NewClient()
	client.RetryMax = 9
	client.CheckRetry = isRetryable
	client.Backoff = pause
	client.HTTPClient.Timeout = timeout
	client.Logger = nil
	request, err := retryablehttp.NewRequest("POST", url+"/charges", body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
