// Streams the answer to one message: go run . ADDRESS MODEL MESSAGE
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "inferloom.example/gen/inferloom/v1"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: main ADDRESS MODEL MESSAGE")
	}
	// Newer releases of grpc have NewClient and insecure.NewCredentials for this; both still know Dial.
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	// The deadline bounds queueing and decoding.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := answer(ctx, pb.NewInferenceServiceClient(connection), os.Args[2], os.Args[3]); err != nil {
		log.Fatalf("%s: %s", status.Code(err), status.Convert(err).Message())
	}
}

func answer(ctx context.Context, client pb.InferenceServiceClient, model, message string) error {
	maxTokens := uint32(64)
	temperature := float32(0)
	said := &pb.ContentPart{Part: &pb.ContentPart_Text{Text: message}}
	stream, err := client.Generate(ctx, &pb.GenerateRequest{
		Model: model,
		Input: &pb.GenerateRequest_Chat{Chat: &pb.ChatInput{
			Messages: []*pb.ChatMessage{{Role: pb.Role_ROLE_USER, Parts: []*pb.ContentPart{said}}},
		}},
		Sampling: &pb.SamplingOptions{Temperature: &temperature},
		Stopping: &pb.StoppingOptions{MaxTokens: &maxTokens},
	})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case event.GetDelta() != nil:
			fmt.Print(event.GetDelta().GetText())
		case event.GetCompleted() != nil:
			fmt.Printf("\n%d tokens\n", event.GetCompleted().GetUsage().GetCompletionTokens())
		}
	}
}
