defmodule ErlangPython.DisplayTest do
  # Real packages draw. Not async: the frontend belongs to the whole node, and so do the modules that stand for Kino, which
  # can't be fetched here.
  use ErlangPython.PoolCase, async: false

  import ExUnit.CaptureIO

  alias ErlangPython.{DataPython, Display, KinoStandIn, Notebook}

  doctest ErlangPython.Display

  @png <<137, "PNG\r\n", 26, 10>>

  # Tells the test what comes.
  defmodule Frontend do
    @behaviour Display
    @impl true
    def show(display), do: send(self(), {:shown, display})
    @impl true
    def render(display), do: {:rendered, display}
  end

  setup_all do
    name = :display_test
    options = [name: name, workers: 1, python: DataPython.env(), stdout: :ignore]
    start_supervised!({Pool, options})
    {:ok, pool: name}
  end

  setup %{pool: pool} do
    {:ok, pid} = Agent.start_link(fn -> Notebook.new() end)

    run = fn code ->
      {value, notebook} =
        Notebook.run(Agent.get(pid, & &1), "python ~S'''\n#{code}\n''', pool: #{inspect(pool)}")

      Agent.update(pid, fn _before -> notebook end)
      value
    end

    {:ok, run: run}
  end

  defp with_frontend(module) do
    Application.put_env(:erlang_python, :display, module)
    on_exit(fn -> Application.delete_env(:erlang_python, :display) end)
  end

  test "a dataframe is a table, and its variable an object", %{run: run} do
    value = run.("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\ndf")
    assert %Display{data: %{"text/html" => html, "text/plain" => text}} = value
    assert html =~ "<table"
    assert text == "   a\n0  1\n1  2"
    assert inspect(value) == text
    assert inspect([value]) == "[   a\n  0  1\n  1  2]"
    assert run.("int(df.a.sum())") == 3
    # Plain calls are what they were.
    assert run.("df.a.tolist()") == [1, 2]
  end

  test "figures are shown when the cell ends, and closed", %{run: run} do
    with_frontend(Frontend)

    assert run.(
             "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.figure().gca().plot([3])\n5"
           ) == 5

    for _ <- 1..2, do: assert_received({:shown, %Display{data: %{"image/png" => @png <> _}}})
    assert run.("plt.get_fignums()") == []
    refute_received {:shown, _figure}

    # The variable that the programs of a cell inherit is not ours.
    assert run.("import os\nos.environ.get('MPLBACKEND')") == nil
  end

  test "a figure that is the value is shown once", %{run: run} do
    with_frontend(Frontend)
    code = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1])\nfig"
    assert {:rendered, %Display{data: data}} = run.(code)
    assert %{"image/png" => @png <> _, "text/plain" => "<Figure size " <> _} = data
    refute_received {:shown, _figure}
    # It stays an object.
    assert run.("fig.axes[0].lines[0].get_ydata().tolist()") == [1]
  end

  test "plt.show() shows at once, as PNG or SVG", %{run: run} do
    with_frontend(Frontend)

    run.("""
    import matplotlib, matplotlib.pyplot as plt, warnings
    warnings.simplefilter("error")
    plt.plot([1]); plt.show()
    erlang.display("between")
    with matplotlib.rc_context({"savefig.format": "svg"}):
        plt.plot([1]); plt.show()
    """)

    assert_received {:shown, %{data: %{"image/png" => _}}}
    assert_received {:shown, %{data: %{"text/plain" => "'between'"}}}
    assert_received {:shown, %{data: %{"image/svg+xml" => "<?xml" <> _}}}
  end

  test "figures of a cell that fails are closed", %{run: run} do
    with_frontend(Frontend)
    code = "import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0"
    assert_raise Error, fn -> run.(code) end
    assert run.("plt.get_fignums()") == []
    refute_received {:shown, _figure}
  end

  test "a chart of plotly's is HTML, an image of PIL's is PNG", %{run: run} do
    assert %Display{data: %{"text/html" => html}} =
             run.("import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[2, 3]))")

    assert html =~ "Plotly.newPlot"

    assert %Display{data: %{"image/png" => @png <> _} = data} =
             run.("from PIL import Image\nImage.new('RGB', (2, 2))")

    refute data["image/jpeg"]
    # An array is an array.
    assert %ErlangPython.Tensor{shape: {3}} = run.("import numpy\nnumpy.arange(3)")
  end

  test "erlang.display shows in order, from threads and coroutines too", %{run: run} do
    with_frontend(Frontend)

    run.("""
    import asyncio, threading
    erlang.display(1, 2)
    thread = threading.Thread(target=lambda: erlang.display(3))
    thread.start(); thread.join()
    async def later():
        await asyncio.sleep(0)
        erlang.display(4)
    await later()
    """)

    for expected <- ["1", "2", "3", "4"] do
      assert_received {:shown, %{data: %{"text/plain" => text}}}
      assert text == expected
    end
  end

  test "run with display: true always gives how the value looks", %{pool: pool} do
    run = &ErlangPython.run(&1, %{n: 2}, display: true, pool: pool)
    assert run.("n + 1") == {:ok, %Display{data: %{"text/plain" => "3"}}}

    assert {:ok, %Display{data: %{"text/html" => _}}} =
             run.("import pandas\npandas.DataFrame([n])")

    assert {:error, %Error{type: "NameError"}} = ErlangPython.run("n", %{}, pool: pool)
    assert {:error, %Error{type: "ZeroDivisionError"} = error} = run.("n // 0")
    assert [%{file: "<display>", line: 1, code: "n // 0"}] = error.traceback
    assert capture_io(fn -> run.("erlang.display(n)") end) == "2\n"
    assert ErlangPython.run("1", %{}, display: false, pool: pool) == {:ok, 1}

    assert_raise ArgumentError, ~r/:display to be a boolean/, fn ->
      ErlangPython.run("1", %{}, display: :html)
    end
  end

  test "a caller that traps exits has none in its mailbox", %{pool: pool} do
    Process.flag(:trap_exit, true)
    assert {:ok, %Display{}} = ErlangPython.run("1", %{}, display: true, pool: pool)
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "without Kino, outputs are printed as text", %{run: run} do
    assert capture_io(fn ->
             assert %Display{} = run.("erlang.display([1]); object")
           end) == "[1]\n"
  end

  test "a frontend that fails ends the cell, and its Python code", %{run: run, pool: pool} do
    defmodule Broken do
      @behaviour Display
      @impl true
      def show(_display), do: raise("broken frontend")
      @impl true
      def render(display), do: display
    end

    with_frontend(Broken)

    assert_raise RuntimeError, "broken frontend", fn ->
      run.("erlang.display(1)\nwhile True: pass")
    end

    await_whole(pool, 1)
  end

  describe "with Kino" do
    setup do
      on_exit(KinoStandIn.define())
    end

    test "the best form is rendered", %{run: run} do
      assert {:kino, :html, "<" <> _} = run.("import pandas\npandas.DataFrame([1])")

      assert {:kino, "image/png", @png <> _} =
               run.("from PIL import Image\nImage.new('1', (1, 1))")

      shown = "class S:\n    def __init__(self, **f): self.f = f\n"

      for {method, value, kino} <- [
            {"_repr_markdown_", "*a*", {:kino, :markdown, "*a*"}},
            {"_repr_latex_", "$x$", {:kino, :markdown, "$x$"}},
            {"_repr_svg_", "<svg>", {:kino, "image/svg+xml", "<svg>"}}
          ] do
        assert run.("#{shown}    def #{method}(self): return '#{value}'\nS()") == kino
      end

      # Values that Elixir has are what they are, and text is for inspect.
      assert run.("[1]") == [1]
      assert %Display{} = run.("object")
    end

    test "outputs go to Kino while the cell runs", %{run: run} do
      run.("import matplotlib.pyplot as plt\nplt.plot([1])\nNone")
      assert_received {:kino, {:kino, "image/png", @png <> _}}
      assert capture_io(fn -> run.("erlang.display(1)") end) == "1\n"
    end
  end
end
