defmodule ErlangPython.GettingStartedTest do
  # `make first-result` measures what docs/getting-started.md tells its reader to type.
  use ExUnit.Case, async: true

  Code.require_file("../bench/support/first_result_ways.exs", __DIR__)

  test "the page has each command that is measured" do
    page = File.read!(Path.expand("../docs/getting-started.md", __DIR__))

    for way <- Bench.FirstResultWays.all(), typed <- way.typed do
      assert page =~ typed
    end
  end
end
