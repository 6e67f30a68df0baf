// Lists the issues of a repository, and its root, by go-github over a unix socket: main SOCKET OWNER NAME.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/google/go-github/v50/github"
)

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	client := github.NewClient(&http.Client{Transport: &http.Transport{DialContext: dial}})
	client.BaseURL, _ = url.Parse("http://localhost/v1/github/")
	owner, name := os.Args[2], os.Args[3]
	options := &github.IssueListByRepoOptions{ListOptions: github.ListOptions{PerPage: 100}}
	issues := 0
	for {
		page, answer, err := client.Issues.ListByRepo(context.Background(), owner, name, options)
		fail(err)
		issues += len(page)
		if answer.NextPage == 0 {
			break
		}
		options.Page = answer.NextPage
	}
	_, root, _, err := client.Repositories.GetContents(context.Background(), owner, name, "/", nil)
	fail(err)
	fmt.Printf("%d issues, %d entries\n", issues, len(root))
}

func fail(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
