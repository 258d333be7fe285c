defmodule ErlangPython.DemoTest do
  # `make demo` where something is wrong. That it goes well is tested with the other examples.
  use ExUnit.Case, async: false

  defp demo(file) do
    System.cmd("mix", ["run", "--no-compile", file],
      env: [{"MIX_ENV", "test"}],
      stderr_to_stdout: true
    )
  end

  @tag :tmp_dir
  test "ends with status 1 at a step that does not do what the tour says", %{tmp_dir: folder} do
    file = Path.join(folder, "demo.exs")
    tour = File.read!("examples/demo.exs")
    File.write!(file, String.replace(tour, "%{signal: 11}", "%{signal: 9}"))
    {output, status} = demo(file)
    assert status == 1
    assert output =~ ~r/signal 11.*This is not what the step should give\.\n\z/s
    refute output =~ "The tour took"
  end
end
