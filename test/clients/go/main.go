// Runs the jobs of a file, all at the same time, and writes their results to another file.
package main

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

type job struct {
	Kind      string          `json:"kind"`
	URL       string          `json:"url"`
	Key       string          `json:"key"`
	Body      json.RawMessage `json:"body"`
	TimeoutMs int             `json:"timeout_ms"`
}

type result struct {
	Key   string          `json:"key"`
	Reply json.RawMessage `json:"reply,omitempty"`
	Error string          `json:"error,omitempty"`
}

// The library with its retry as it comes: only the key and a timeout are set. docs/clients.md says where that is not enough.
func chargeByDefault(url, key string, body []byte, timeout time.Duration) ([]byte, error) {
	client := retryablehttp.NewClient()
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

func run(j job) result {
	charge := Charge
	if j.Kind == "default" {
		charge = chargeByDefault
	}
	reply, err := charge(j.URL, j.Key, j.Body, time.Duration(j.TimeoutMs)*time.Millisecond)
	if err != nil {
		return result{Key: j.Key, Error: err.Error()}
	}
	return result{Key: j.Key, Reply: reply}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	check(err)
	var jobs []job
	check(json.Unmarshal(text, &jobs))
	results := make([]result, len(jobs))
	var running sync.WaitGroup
	for i := range jobs {
		running.Add(1)
		go func(i int) {
			defer running.Done()
			results[i] = run(jobs[i])
		}(i)
	}
	running.Wait()
	text, err = json.Marshal(results)
	check(err)
	check(os.WriteFile(os.Args[2], text, 0o600))
}
