defmodule ErlangPython.DocsTest do
  # Every code block of every page is run. Not async: a page is read in a folder of its own,
  # with the development Python first on the PATH, and a folder of wheels.
  use ExUnit.Case, async: false

  alias ErlangPython.{DocBlocks, StandIn, TestPython, WheelFolder}

  @root Path.expand("..", __DIR__)
  @pages ["README.md", "CHANGELOG.md"] ++
           (@root
            |> Path.join("docs/*.md")
            |> Path.wildcard()
            |> Enum.map(&Path.relative_to(&1, @root)))
  @makefile File.read!(Path.join(@root, "Makefile"))

  @moduletag :tmp_dir
  setup %{tmp_dir: folder} do
    path = System.get_env("PATH")
    bin = Path.dirname(TestPython.executable())
    System.put_env("PATH", bin <> ":" <> path)
    File.ln_s!(Path.dirname(bin), Path.join(folder, ".venv"))
    File.ln_s!(WheelFolder.small(), Path.join(folder, "wheels"))
    File.cd!(folder)

    on_exit(fn ->
      File.cd!(@root)
      System.put_env("PATH", path)
    end)
  end

  for page <- @pages do
    test "the code of #{page} does what the page says" do
      if unquote(page) == "docs/telemetry.md", do: StandIn.telemetry()
      outcomes = @root |> Path.join(unquote(page)) |> File.read!() |> run()
      assert is_list(outcomes)
    end

    test "the links of #{page} lead to files" do
      file = Path.join(@root, unquote(page))

      for [_all, target] <- Regex.scan(~r/\]\(([^)#]+)[^)]*\)/, File.read!(file)),
          not (target =~ ~r/^https?:/),
          do: assert(file |> Path.dirname() |> Path.join(target) |> File.exists?(), target)
    end
  end

  # What is no doctest, as its results need a pool of its own or Erlang.
  for {module, language} <- [
        {ErlangPython.Pool, "elixir"},
        {ErlangPython.Telemetry, "elixir"},
        {:py, "erlang"},
        {ErlangPython.ErlPort, "erlang"}
      ] do
    test "the examples of #{inspect(module)} do what it says" do
      {:docs_v1, _, _, _, %{"en" => doc}, _, _} = Code.fetch_docs(unquote(module))
      # A paragraph in the margin is code, one that follows another goes on with it.
      fence = "```"

      page =
        ~r/(?<=\n\n)(?:    .*\n|\n(?=    ))+/
        |> Regex.scan(doc)
        |> Enum.map_join("\n", fn [code] ->
          code = String.replace(code, ~r/^    /m, "")
          "#{fence}#{unquote(language)}\n#{String.trim_trailing(code)}\n#{fence}\n"
        end)

      assert [_ | _] = run(page)
    end
  end

  # Runs a page and ends the pools that it has started.
  defp run(text) do
    {:links, before} = Process.info(self(), :links)

    try do
      DocBlocks.run(text, @makefile)
    after
      {:links, links} = Process.info(self(), :links)
      # Those with a name are the library's own.
      for pid <- links -- before,
          is_pid(pid),
          Process.info(pid, :registered_name) == {:registered_name, []},
          do: stop(pid)
    end
  end

  # Several blocks of a page may be one tree, and stopping one stops the next.
  defp stop(pid) do
    Supervisor.stop(pid)
  catch
    :exit, _ended_already -> :ok
  end

  describe "a block" do
    test "has its values compared, over all its lines and with the variables before it" do
      assert run(~S"""
             ```elixir
             x = 20
             x + 1
             #=> 21
             Enum.map(1..2, & &1 * x)
             #=> [
             #     20,
             #     40
             #   ]
             self()
             #=> #PID<...>
             raise ArgumentError, "not this"
             #=> ** (ArgumentError) not ...
             ```

             ```elixir
             iex> y = x * 2
             iex> y +
             ...> 2
             42
             iex> IO.puts("printed")
             :ok
             ```

             <!-- printed -->
             ```text
             printed
             ```

             ```erlang
             1> X = lists:seq(1, 3).
             [1,2,3]
             2> lists:sum(X).
             6
             ```

             ```sh
             make test
             make lint  # a comment
             ```
             """) == [{1, :ran}, {16, :ran}, {26, :ran}, {30, :ran}, {37, :checked}]
    end

    # What the page says and what is there, without line breaks.
    for {name, language, code, message} <- [
          {"a wrong value", "elixir", "1 + 1\n#=> 3", "1 + 1 is 2 and not 3"},
          {"a wrong text", "elixir", "self()\n#=> #Port<...>", "and not #Port<...>"},
          {"a wrong value after a prompt", "elixir", "iex> :a\n:b", ":a is :a and not :b"},
          {"a missing error", "elixir", ":a\n#=> ** (KeyError) ...", ":a is :a and not ** (KeyE"},
          {"another error", "elixir", "hd([])\n#=> ** (KeyError) ...", "is ** (ArgumentError)"},
          {"broken syntax", "elixir", "foo(", "missing terminator"},
          {"code that raises", "elixir", "hd([])", "line 1: errors were found"},
          {"an unknown option in a setting", "elixir",
           "# config/config.exs\nimport Config\nconfig :erlang_python, pools: [[name: :a, worker: 1]]",
           "unknown pool option"},
          {"an unknown setting", "elixir",
           "# config/config.exs\nimport Config\nconfig :erlang_python, pool: []", "no match"},
          {"another dependency", "elixir", "# mix.exs\n{:erlport, \"~> 0.1\"}", "no match"},
          {"a test that fails", "elixir",
           "defmodule T do\n  use ExUnit.Case\n  test(\"x\", do: assert(1 == 2))\nend",
           "Assertion with == failed"},
          {"an Erlang module that does not compile", "erlang", "-module(m).\nf() -> 1.",
           "unused_function"},
          {"an Erlang module with broken syntax", "erlang", "-module(m).\nf( -> 1.",
           "syntax error"},
          {"a wrong Erlang value", "erlang", "1> 1 + 1.\n3", "1 + 1. is 2 and not 3"},
          {"a Python syntax error", "python", "def f(:", "SyntaxError"},
          {"Python code that raises", "python", "1 / 0", "ZeroDivisionError"},
          {"a missing target of make", "sh", "make tests", "no target tests"},
          {"a missing task of mix", "sh", "mix erlang_python.set", "could not be found"},
          {"another command", "sh", "echo", "no function clause"},
          {"a shell without the library", "sh", "ERL_LIBS=/nowhere erl", "no such file"},
          {"a language that nothing runs", "rust", "fn", "nothing runs rust"},
          {"no language", "", "x", "names no language"}
        ] do
      test "fails for #{name}" do
        page = "```#{unquote(language)}\n#{unquote(code)}\n```\n"
        error = assert_raise ExUnit.AssertionError, fn -> run(page) end

        assert error |> Exception.message() |> String.split() |> Enum.join(" ") =~
                 unquote(message)
      end
    end

    test "fails for another printed text, and without an end" do
      page = "```elixir\nIO.puts(1)\n```\n<!-- printed -->\n```text\n2\n```\n"
      assert_raise ExUnit.AssertionError, ~r/what was printed is\s+1/, fn -> run(page) end
      assert_raise RuntimeError, ~r/no end/, fn -> run("```elixir\n1\n") end
    end

    test "is only parsed if the page gives a reason" do
      marker = "<!-- not run: it needs a network -->\n\n"

      assert run(marker <> "```elixir\nraise \"\"\n```") == [
               {3, {:not_run, "it needs a network"}}
             ]

      assert_raise ExUnit.AssertionError, fn -> run(marker <> "```elixir\nfoo(\n```") end
      assert_raise ExUnit.AssertionError, fn -> run(marker <> "```python\nfoo(\n```") end
      assert_raise ExUnit.AssertionError, fn -> run(marker <> "```erlang\n1> foo(\n```") end

      assert_raise ExUnit.AssertionError, fn ->
        run(marker <> "```erlang\n-module(m).\nf( -> 1.\n```")
      end

      assert_raise ExUnit.AssertionError, fn ->
        run("<!-- not run: -->\n```elixir\nhd([])\n```")
      end
    end

    test "of Python with a path is a file" do
      page = """
      ```python
      # python/prices.py
      def double(x): return 2 * x
      ```
      """

      assert run(page) == [{1, :ran}]
      assert File.read!("python/prices.py") =~ "def double"
    end
  end
end
