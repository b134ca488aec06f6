// mul8s_p17: approximate 8 x 8 bit signed multiplier, p = a w
// MAE = 621.853, WCE = 3438
// power 0.07006 mW, area 119.3 um2, delay 0.5452 ns (gate model: 57 gates)
module mul8s_p17 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[6] & w[4];
  wire n1 = ~(a[7] & w[4]);
  wire n2 = a[5] & w[5];
  wire n3 = n0 | n2;
  wire n4 = n0 & n2;
  wire n5 = a[6] & w[5];
  wire n6 = ~(n1 ^ n5);
  wire n7 = a[7] & n5;
  wire n8 = n4 ^ n6;
  wire n9 = n4 | n7;
  wire n10 = ~(a[7] & w[5]);
  wire n11 = n1 ^ n10;
  wire n12 = n1 & n10;
  wire n13 = n9 | n11;
  wire n14 = a[4] & w[6];
  wire n15 = n3 | n14;
  wire n16 = n3 & n14;
  wire n17 = a[5] & w[6];
  wire n18 = n8 ^ n17;
  wire n19 = n8 & n17;
  wire n20 = n16 ^ n18;
  wire n21 = n16 & n18;
  wire n22 = n19 | n21;
  wire n23 = a[6] & w[6];
  wire n24 = n13 ^ n23;
  wire n25 = n13 & n23;
  wire n26 = n22 ^ n24;
  wire n27 = n22 & n24;
  wire n28 = n25 | n27;
  wire n29 = ~(a[7] & w[6]);
  wire n30 = n12 ^ n29;
  wire n31 = n12 & n29;
  wire n32 = n28 | n30;
  wire n33 = ~(a[7] & w[7]);
  wire n34 = ~(n15 & n33);
  wire n35 = ~n34;
  wire n36 = n15 | n33;
  wire n37 = ~(a[4] & w[7]);
  wire n38 = n20 ^ n37;
  wire n39 = n20 & n37;
  wire n40 = ~(n36 & n38);
  wire n41 = n36 & n38;
  wire n42 = n39 | n41;
  wire n43 = ~(a[5] & w[7]);
  wire n44 = n26 ^ n43;
  wire n45 = n26 & n43;
  wire n46 = n42 ^ n44;
  wire n47 = n42 & n44;
  wire n48 = n45 | n47;
  wire n49 = ~(a[6] & w[7]);
  wire n50 = n32 ^ n49;
  wire n51 = n48 ^ n50;
  wire n52 = n48 & n49;
  wire n53 = a[7] & w[7];
  wire n54 = n31 & n52;
  wire n55 = n53 | n54;
  wire n56 = ~n55;
  assign p[0] = w[4];
  assign p[1] = n51;
  assign p[2] = w[7];
  assign p[3] = w[7];
  assign p[4] = n10;
  assign p[5] = n30;
  assign p[6] = n17;
  assign p[7] = w[6];
  assign p[8] = n3;
  assign p[9] = n54;
  assign p[10] = n35;
  assign p[11] = n40;
  assign p[12] = n46;
  assign p[13] = n51;
  assign p[14] = n56;
  assign p[15] = n56;
endmodule
