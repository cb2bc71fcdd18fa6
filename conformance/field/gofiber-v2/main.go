// The server of the documentation of Fiber's middleware idempotency, with its Redis storage.
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/idempotency"
	"github.com/gofiber/storage/redis/v3"
	"github.com/jackc/pgx/v5/pgxpool"
)

type Charge struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Source   string `json:"source"`
	BeforeMs int64  `json:"before_ms"`
	AfterMs  int64  `json:"after_ms"`
}

func main() {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config := idempotency.Config{Storage: redis.New(redis.Config{URL: os.Getenv("REDIS_URL")})}
	if seconds, err := strconv.Atoi(os.Getenv("KEY_TTL_SECONDS")); err == nil {
		config.Lifetime = time.Duration(seconds) * time.Second
	}

	app := fiber.New()
	app.Use(idempotency.New(config))
	app.Post("/charges", func(c *fiber.Ctx) error { return create(c, pool) })
	app.Get("/charges", func(c *fiber.Ctx) error { return list(c, pool) })
	log.Fatal(app.Listen("127.0.0.1:" + os.Getenv("PORT")))
}

func create(c *fiber.Ctx, pool *pgxpool.Pool) error {
	var charge Charge
	if err := c.BodyParser(&charge); err != nil {
		return fiber.ErrBadRequest
	}
	if charge.Amount <= 0 {
		return c.Status(fiber.StatusBadRequest).JSON(fiber.Map{"error": "amount must be a positive integer"})
	}
	if charge.Source == "tok_chargeDeclined" {
		return c.Status(fiber.StatusPaymentRequired).JSON(fiber.Map{"error": "card_declined"})
	}
	time.Sleep(time.Duration(charge.BeforeMs) * time.Millisecond)
	var id int64
	insert := "INSERT INTO charges (amount, currency) VALUES ($1, $2) RETURNING id"
	if err := pool.QueryRow(context.Background(), insert, charge.Amount, charge.Currency).Scan(&id); err != nil {
		return err
	}
	time.Sleep(time.Duration(charge.AfterMs) * time.Millisecond)
	return c.Status(fiber.StatusCreated).JSON(fiber.Map{"id": id, "amount": charge.Amount, "currency": charge.Currency})
}

func list(c *fiber.Ctx, pool *pgxpool.Pool) error {
	ids := []int64{}
	rows, err := pool.Query(context.Background(), "SELECT id FROM charges ORDER BY id DESC")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	return c.JSON(fiber.Map{"count": len(ids), "data": ids})
}
